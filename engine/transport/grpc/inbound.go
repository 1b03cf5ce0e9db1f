package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// The service has one method, a stream from the caller; the server answers with
// headers and at the end a status.
const (
	serviceName = "dyno.Raft"
	method      = "/" + serviceName + "/Stream"
)

var streamDesc = grpc.StreamDesc{
	StreamName: "Stream", ClientStreams: true, ServerStreams: true,
	Handler: func(srv any, stream grpc.ServerStream) error { return srv.(*Transport).serve(stream) },
}

// toldMax bounds how many nodes' refusals are remembered so as to log each change
// once.
const toldMax = 1024

// place is where the stream of one node on one lane is read; there is one at a
// time. It stays when the stream ends.
type place struct {
	turn    chan struct{} // capacity 1; who has put a token in may call Receive
	current *inbound      // the newest stream; guarded by Transport.mu
}

// inbound is one stream of a peer. Its handler, a goroutine of gRPC's server,
// waits; receive, a goroutine of ours, reads: only so can a stream be ended from
// here, since gRPC lets go of a read when the handler returns and no earlier.
//
// A newer stream of the same node and lane replaces it, and nothing of the old
// one is delivered after the first message of the new one:
//
//  1. place makes the new one current and closes old.stop;
//  2. receive of the old one looks at stop before each Receive, and gives its
//     turn back only when it has returned from the last one;
//  3. the new one answers the handshake and reads when it has the turn.
//
// So the calls of Receive for one node and lane never overlap. When a stream has
// the turn, an older one has given it back, or has yet to get it: then its stop
// has been closed since the newer one was placed, and by 2 it calls Receive no
// more.
type inbound struct {
	hello
	place *place
	stop  chan struct{} // closed by place for the stream that replaces this one
	done  chan struct{} // closed by receive
	err   error         // why receive ended; after done
}

// serve is the handler of one stream.
func (t *Transport) serve(stream grpc.ServerStream) error {
	in, err := t.admit(stream.Context())
	if err == nil {
		defer t.wg.Done()
		t.counts.streams.Add(1)
		defer t.counts.streams.Add(-1)
		err = t.read(in, stream)
		t.cfg.Log.Debug("stream of peer closed", "node", t.cfg.Node, "peer", in.from, "lane", in.lane, "err", err)
	}
	trailer, err := refusal(err)
	stream.SetTrailer(trailer)
	return err
}

// admit checks the handshake of a stream and makes it the current one of its
// node and lane. On success the caller owes wg a Done.
func (t *Transport) admit(ctx context.Context) (in *inbound, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	h, err := readHello(md)
	if err == nil {
		err = h.accept(t.cfg.ClusterID, t.cfg.Node)
	}
	if err == nil {
		in, err = t.place(h)
	}
	t.counts.refused(err)
	if t.changed(h.from, err) {
		t.cfg.Log.Warn("peer was refused", "node", t.cfg.Node, "peer", h.from, "lane", h.lane, "err", err)
	}
	return in, err
}

// place makes a stream the current one of its node and lane. Fails with
// ErrStreamLimit, ErrClosed or because Start was not called.
func (t *Transport) place(h hello) (*inbound, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return nil, transport.ErrClosed
	}
	if t.handler == nil {
		return nil, errNotStarted
	}
	key := linkKey{h.from, h.lane}
	p := t.places[key]
	if p == nil {
		if len(t.places) >= t.cfg.StreamsMax {
			return nil, fmt.Errorf("%w: limit is %d", ErrStreamLimit, t.cfg.StreamsMax)
		}
		p = &place{turn: make(chan struct{}, 1)}
		t.places[key] = p
	}
	in := &inbound{hello: h, place: p, stop: make(chan struct{}), done: make(chan struct{})}
	if p.current != nil {
		close(p.current.stop)
		t.counts.replaced.Add(1)
	}
	p.current = in
	t.wg.Add(1)
	return in, nil
}

// changed says whether a refusal is of another kind than the node's last one.
func (t *Transport) changed(from ids.NodeID, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch err {
	case transport.ErrClosed, errNotStarted: // says nothing about the peer
		return false
	case nil:
		delete(t.told, from)
		return false
	}
	kind := kindOf(err)
	if t.told[from] == kind {
		return false
	}
	if len(t.told) >= toldMax {
		clear(t.told)
	}
	t.told[from] = kind
	return true
}

// read waits for the turn of a stream, answers the handshake, and for the end.
func (t *Transport) read(in *inbound, stream grpc.ServerStream) error {
	defer t.leave(in)
	ctx := stream.Context()
	select {
	case in.place.turn <- struct{}{}:
	case <-in.stop:
		return ErrReplaced
	case <-ctx.Done():
		return ctx.Err()
	case <-t.ctx.Done():
		return transport.ErrClosed
	}
	if err := stream.SendHeader(t.hello(in.from, in.lane).metadata()); err != nil {
		<-in.place.turn
		return err
	}
	t.cfg.Log.Debug("stream of peer open", "node", t.cfg.Node, "peer", in.from, "lane", in.lane)
	t.heard(in.from)
	t.wg.Add(1)
	go t.receive(in, stream)
	select {
	case <-in.done:
		return in.err
	case <-in.stop:
		return ErrReplaced
	case <-t.ctx.Done():
		return transport.ErrClosed
	}
}

// leave makes a stream that has ended no longer the current one.
func (t *Transport) leave(in *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.place.current == in {
		in.place.current = nil
	}
}

// receive hands what arrives to the handler until the stream ends. Back-pressure
// is the stream's window: while Receive has not returned, nothing is read, and
// the peer may send WindowBytes more. It has the turn and gives it back.
func (t *Transport) receive(in *inbound, stream grpc.ServerStream) {
	defer t.wg.Done()
	defer close(in.done)
	defer func() { <-in.place.turn }()
	pprof.SetGoroutineLabels(pprof.WithLabels(t.ctx, pprof.Labels("raft-transport-reader", label(in.from, in.lane))))
	counts := &t.counts.lanes[in.lane]
	var msg incoming
	for {
		if err := stream.RecvMsg(&msg); err != nil {
			in.err = t.ended(in, msg.err, err)
			t.down(in, msg.err)
			return
		}
		select {
		case <-in.stop:
			return
		case <-t.ctx.Done():
			return
		default:
		}
		t.handler.Receive(in.from, msg.batch)
		counts.received.Add(uint64(len(msg.batch)))
		counts.receivedFrames.Add(1)
		counts.receivedBytes.Add(uint64(msg.bytes))
		clear(msg.batch)
	}
}

// ended says why no message came.
func (t *Transport) ended(in *inbound, malformed, err error) error {
	switch {
	case malformed != nil:
		t.counts.malformed.Add(1)
		t.cfg.Log.Warn("peer sent a malformed message, stream closed", "node", t.cfg.Node, "peer", in.from, "lane", in.lane, "err", malformed)
		return malformed
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// down tells what the end of a stream means. A peer that lives does not end its
// control lane, unless it was answered too late; and the next stream of that lane
// waits for this one's turn, so Down never comes after what a restarted peer sent.
func (t *Transport) down(in *inbound, malformed error) {
	if in.lane != transport.Control || malformed != nil {
		return
	}
	select {
	case <-in.stop: // replaced
	case <-t.ctx.Done():
	default:
		if o, ok := t.handler.(transport.Observer); ok {
			o.Down(in.from)
		}
	}
}

// hello is what this node says on a stream with another.
func (t *Transport) hello(to ids.NodeID, lane transport.Lane) hello {
	return hello{cluster: t.cfg.ClusterID, from: t.cfg.Node, to: to, lane: lane}
}
