package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/pprof"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// outbound is one open stream to a peer, on a connection of its own. Its link's
// writer owns it: open, send, close.
//
// The connection is dialled before gRPC is asked, and gRPC may take it once: so
// every attempt asks the address book, fails with the error of the dialler, and
// waits by the link's backoff instead of by gRPC's.
type outbound struct {
	raw    net.Conn
	client *grpc.ClientConn
	stream grpc.ClientStream
	cancel context.CancelFunc
	since  time.Time
	msg    outgoing
	gone   chan struct{} // closed by watch, when the stream has ended
	err    error         // why; after gone
}

// open dials a node and shakes hands. It blocks for at most DialTimeout. Fails
// with ErrNoAddress, ErrUnreachable or what the handshake fails with.
func (t *Transport) open(to ids.NodeID, lane transport.Lane) (*outbound, error) {
	addr, ok := t.cfg.Addr(to)
	if !ok {
		return nil, ErrNoAddress
	}
	ctx, done := context.WithTimeout(t.ctx, t.cfg.DialTimeout)
	defer done()
	raw, err := t.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: dial %s: %w", ErrUnreachable, addr, err)
	}
	o := &outbound{raw: raw, gone: make(chan struct{})}
	o.msg.packer.pool = &t.scratch
	if o.client, err = t.client(raw); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrUnreachable, addr, err), raw.Close())
	}
	var life context.Context
	life, o.cancel = context.WithCancel(t.ctx)
	stop := context.AfterFunc(ctx, o.cancel) // the deadline is for the handshake alone
	if err = o.greet(life, t.hello(to, lane), t.codecName()); err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		stop()
		close(o.gone)
		o.close()
		return nil, fmt.Errorf("node %d at %s: %w", to, addr, handshakeError(ctx, err))
	}
	o.since = time.Now()
	go o.watch(to, lane)
	return o, nil
}

// handshakeError tells a deadline apart from what it caused.
func handshakeError(ctx context.Context, err error) error {
	for _, typed := range []error{ErrForeignCluster, ErrWrongNode, ErrVersion, ErrOtherTransport, ErrStreamLimit} {
		if errors.Is(err, typed) {
			return err
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: handshake: %w", ErrUnreachable, context.Cause(ctx))
	}
	return fmt.Errorf("%w: handshake: %w", ErrUnreachable, err)
}

// client makes gRPC's side of a connection that is already there.
func (t *Transport) client(raw net.Conn) (*grpc.ClientConn, error) {
	once := make(chan net.Conn, 1) // the connection until it is taken
	once <- raw
	return grpc.NewClient("passthrough:///peer",
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-once:
				return c, nil
			default:
				return nil, errors.New("connection is used up")
			}
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithMaxHeaderListSize(headersBytesMax),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * t.cfg.DialTimeout}), // that of open ends it before
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: t.cfg.PingEvery, Timeout: t.cfg.PingTimeout}),
	)
}

// greet opens the stream and waits for the answer of the other side. Nothing is
// sent before it: what a refusing server would drop stays in the queue.
func (o *outbound) greet(ctx context.Context, h hello, codec string) error {
	var err error
	ctx = metadata.NewOutgoingContext(ctx, h.metadata())
	o.stream, err = o.client.NewStream(ctx, &streamDesc, method, grpc.CallContentSubtype(codec))
	if err != nil {
		return err
	}
	header, err := o.stream.Header()
	if err == nil && len(header[keyVersion]) == 0 {
		// Refused, or not a dyno: the status says it.
		if err = o.stream.RecvMsg(&incoming{}); err == nil {
			err = fmt.Errorf("%w: answer without handshake", ErrVersion)
		}
		return readRefusal(o.stream.Trailer(), err)
	}
	if err != nil {
		return err
	}
	got, err := readHello(header)
	if err != nil {
		return err
	}
	return h.answers(got)
}

// watch waits for the end of the stream, on a goroutine of its own: a server
// sends nothing else. It ends with close at the latest.
func (o *outbound) watch(to ids.NodeID, lane transport.Lane) {
	defer close(o.gone)
	pprof.SetGoroutineLabels(pprof.WithLabels(o.stream.Context(), pprof.Labels("raft-transport-watch", label(to, lane))))
	err := o.stream.RecvMsg(&incoming{})
	if err == nil {
		err = fmt.Errorf("%w: server sent a message", ErrMalformed)
	}
	o.err = fmt.Errorf("%w: %w", ErrStreamLost, readRefusal(o.stream.Trailer(), err))
}

// send hands a batch to gRPC as one message. It blocks while the peer takes
// nothing, until the stream ends. Gives the length of the message. Does not
// keep batch.
func (o *outbound) send(batch []transport.Envelope) (bytes int, err error) {
	o.msg.batch = batch
	err = o.stream.SendMsg(&o.msg)
	o.msg.batch = nil
	return o.msg.bytes, err
}

// reasonWait is how long a failed send waits to learn why.
const reasonWait = 100 * time.Millisecond

// reason gives why a stream ended, as far as that is known yet.
func (o *outbound) reason() error {
	timer := time.NewTimer(reasonWait)
	defer timer.Stop()
	select {
	case <-o.gone:
		return o.err
	case <-timer.C:
		return ErrStreamLost
	}
}

// close ends the stream and its connection, and waits for the watch. The
// connection goes first: gRPC would wait for a peer that reads nothing.
func (o *outbound) close() {
	o.cancel()
	_ = o.raw.Close() // it may be closed already; there is nothing to save
	_ = o.client.Close()
	<-o.gone
}

func label(node ids.NodeID, lane transport.Lane) string {
	return strconv.Itoa(int(node)) + " " + lane.String()
}
