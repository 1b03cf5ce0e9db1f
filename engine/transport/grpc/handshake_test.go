package grpctransport

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// TestRefused: either side ends a handshake with the wrong peer; the reason is
// typed, counted on both sides and logged once, however often it is tried.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		to      ids.NodeID
		cluster string
		want    error
		count   func(Stats) uint64
	}{
		"foreign cluster": {2, "other\nbinary\x00", ErrForeignCluster, func(s Stats) uint64 { return s.ForeignCluster }},
		"wrong node":      {3, "c", ErrWrongNode, func(s Stats) uint64 { return s.WrongNode }},
	} {
		t.Run(name, func(t *testing.T) {
			said, heardOf := &lines{}, &lines{}
			h := newHeard()
			from, to, b := pair(t, func(c *Config) { c.Log = slog.New(heardOf) })
			from.cfg.ClusterID, from.cfg.Log = c.cluster, slog.New(said)
			b.set(3, to.addr)
			from.Start(h)
			to.Start(newHeard())
			for range 3 { // attempts
				sendUntil(from, c.to, h.reports)
			}
			if err := from.Err(c.to, transport.Control); !errors.Is(err, c.want) {
				t.Errorf("error: %v", err)
			}
			if n := c.count(from.Stats()); n < 3 {
				t.Errorf("caller counted %d", n)
			}
			if n := c.count(to.Stats()); n < 3 {
				t.Errorf("server counted %d", n)
			}
			if s, r := said.count("WARN no stream to peer"), heardOf.count("WARN peer was refused"); s != 1 || r != 1 {
				t.Errorf("logged %d times by the caller, %d by the server", s, r)
			}
			if s := to.Stats(); s.Streams != 0 || s.Lanes[transport.Control].Received != 0 {
				t.Errorf("server has %+v", s)
			}
		})
	}
}

// sendUntil sends until an attempt to reach the node has failed once more.
func sendUntil(from *Transport, to ids.NodeID, reports <-chan report) {
	before := from.Stats().Failures
	for from.Stats().Failures == before {
		from.Send(to, transport.Control, heartbeat(to))
		<-reports
	}
}

func TestVersion(t *testing.T) {
	_, to, _ := pair(t, nil)
	to.Start(newHeard())
	for name, md := range map[string]metadata.MD{
		"newer":   metadata.Pairs(keyVersion, "2"),
		"none":    nil,
		"no lane": metadata.Pairs(keyVersion, "1", keyCluster, "c", keyFrom, "1", keyTo, "2"),
		"no node": metadata.Pairs(keyVersion, "1", keyCluster, "c", keyFrom, "0", keyTo, "2", keyLane, "0"),
		"lane 3":  metadata.Pairs(keyVersion, "1", keyCluster, "c", keyFrom, "1", keyTo, "2", keyLane, "3"),
	} {
		stream := rawStream(t, to, md)
		err := stream.RecvMsg(&incoming{})
		if !errors.Is(readRefusal(stream.Trailer(), err), ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := to.Stats(); s.Version != 5 {
		t.Errorf("counted %d", s.Version)
	}
}

// TestAnswer: the caller does not take any server for its peer.
func TestAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answer metadata.MD
		want   error
	}{
		"version": {metadata.Pairs(keyVersion, "2"), ErrVersion},
		"cluster": {hello{cluster: "d", from: 2, to: 1}.metadata(), ErrForeignCluster},
		"node":    {hello{cluster: "c", from: 3, to: 1}.metadata(), ErrWrongNode},
		"lane":    {hello{cluster: "c", from: 2, to: 1, lane: transport.Bulk}.metadata(), ErrWrongNode},
		"none":    {nil, ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			from, _, b := pair(t, nil)
			lis := listen(t, "127.0.0.1:0")
			s := grpc.NewServer()
			s.RegisterService(&grpc.ServiceDesc{
				ServiceName: serviceName, HandlerType: (*any)(nil),
				Streams: []grpc.StreamDesc{{StreamName: "Stream", ClientStreams: true, ServerStreams: true,
					Handler: func(_ any, stream grpc.ServerStream) error {
						if err := stream.SendHeader(c.answer); err != nil {
							return err
						}
						if c.answer == nil {
							return stream.SendMsg(&outgoing{packer: packer{pool: &scratch{}}})
						}
						<-stream.Context().Done()
						return nil
					}}},
			}, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.Serve(lis)
			}()
			defer func() {
				s.Stop()
				<-done
			}()
			b.set(2, lis.Addr().String())
			h := newHeard()
			from.Start(h)
			sendUntil(from, 2, h.reports)
			if err := from.Err(2, transport.Control); !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
}

// TestOtherTransport: a node that uses another transport says so, and is asked
// no more often than any other that refuses.
func TestOtherTransport(t *testing.T) {
	said := &lines{}
	from, _, b := pair(t, func(c *Config) { c.Log = slog.New(said) })
	lis := listen(t, "127.0.0.1:0")
	s := grpc.NewServer()
	Refuse(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(lis)
	}()
	defer func() {
		s.Stop()
		<-done
	}()
	b.set(2, lis.Addr().String())
	h := newHeard()
	from.Start(h)
	for range 2 {
		sendUntil(from, 2, h.reports)
	}
	if err := from.Err(2, transport.Control); !errors.Is(err, ErrOtherTransport) {
		t.Error(err)
	}
	if n := said.count("WARN no stream to peer"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// TestUnreachable: a gRPC server that is no dyno, a port without a listener, a
// node without an address, a peer that has not started.
func TestUnreachable(t *testing.T) {
	from, to, b := pair(t, nil) // to is not started
	lis := listen(t, "127.0.0.1:0")
	closed := lis.Addr().String()
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	other := listen(t, "127.0.0.1:0")
	s := grpc.NewServer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(other)
	}()
	defer func() {
		s.Stop()
		<-done
	}()
	b.set(3, closed)
	b.set(4, other.Addr().String())
	h := newHeard()
	from.Start(h)
	for node, want := range map[ids.NodeID]error{2: ErrUnreachable, 3: ErrUnreachable, 4: ErrUnreachable, 5: ErrNoAddress} {
		sendUntil(from, node, h.reports)
		if err := from.Err(node, transport.Control); !errors.Is(err, want) {
			t.Errorf("node %d: %v", node, err)
		}
	}
	if s := to.Stats(); s.Streams != 0 {
		t.Errorf("a transport that has not started has %d streams", s.Streams)
	}
}

func TestStreamLimit(t *testing.T) {
	from, to, _ := pair(t, func(c *Config) { c.StreamsMax = 1 })
	h, got := newHeard(), newHeard()
	from.Start(h)
	to.Start(got)
	from.Send(2, transport.Bulk, heartbeat(2))
	<-got.got
	sendUntil(from, 2, h.reports)
	if err := from.Err(2, transport.Control); !errors.Is(err, ErrStreamLimit) {
		t.Error(err)
	}
	if s := to.Stats(); s.StreamLimit == 0 || s.Streams != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRefusal: every reason that travels comes back as what it was.
func TestRefusal(t *testing.T) {
	for _, want := range []error{ErrForeignCluster, ErrWrongNode, ErrVersion, ErrOtherTransport, ErrStreamLimit, ErrReplaced} {
		trailer, err := refusal(want)
		if got := readRefusal(trailer, err); !errors.Is(got, want) {
			t.Errorf("%v became %v", want, got)
		}
	}
	for want, code := range map[error]codes.Code{
		transport.ErrClosed: codes.Unavailable, context.Canceled: codes.Canceled,
	} {
		if _, err := refusal(want); status.Code(err) != code {
			t.Errorf("%v became %v", want, err)
		}
	}
	if _, err := refusal(nil); err != nil {
		t.Error(err)
	}
}
