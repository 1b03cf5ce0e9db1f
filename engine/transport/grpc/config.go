package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// Config configures a Transport. Zero values mean the defaults named here.
type Config struct {
	Node      ids.NodeID // required
	ClusterID string     // both sides of a stream must have the same
	// Addr is the address book: required. Called before every attempt to reach
	// a node, from several goroutines; must not block.
	Addr func(ids.NodeID) (addr string, ok bool)
	// Dial opens a connection: a plain net.Dialer. One that does TLS returns
	// after the TLS handshake; gRPC adds none of its own. It must give up when
	// ctx is done.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// QueueBytesMax bounds what one lane holds for one peer, transport.Size
	// being the measure, until gRPC has taken it; a single larger message may
	// pass if the lane is empty: transport.QueueBytesMax.
	QueueBytesMax int64
	// MessageBytesMax is the largest gRPC message that is sent or accepted: 64
	// MiB. An envelope needs its data, 160 bytes and 40 per entry.
	MessageBytesMax int
	// FrameBytes is how full a gRPC message gets before the next begins; an
	// envelope that is larger goes alone: 256 KiB.
	FrameBytes int
	// WindowBytes is how much of a stream the receiver may hold before Receive
	// has taken it, beyond the message being read: 4 MiB.
	WindowBytes int
	// StreamsMax bounds the pairs of node and lane that ever had a stream here:
	// 4096.
	StreamsMax int

	DialTimeout            time.Duration // for connection and handshake together: 3 s
	BackoffMin, BackoffMax time.Duration // between attempts, with jitter: 20 ms, 1 s
	// PingEvery and PingTimeout find a peer that went without a word: after 10 s
	// without traffic, within 3 s. gRPC pings no more often than every 10 s.
	PingEvery, PingTimeout time.Duration

	// Stock sends envelopes the usual way of gRPC, as Protocol Buffers messages
	// that raftpb's generated code marshals. An arm of an experiment. What is
	// received is read in either form.
	Stock bool
	Log   *slog.Logger // none
}

func (c *Config) setDefaults() {
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	orDefault(&c.QueueBytesMax, transport.QueueBytesMax)
	orDefault(&c.MessageBytesMax, 64<<20)
	orDefault(&c.FrameBytes, 256<<10)
	orDefault(&c.WindowBytes, 4<<20)
	orDefault(&c.StreamsMax, 4096)
	orDefault(&c.DialTimeout, 3*time.Second)
	orDefault(&c.BackoffMin, 20*time.Millisecond)
	orDefault(&c.BackoffMax, time.Second)
	orDefault(&c.PingEvery, 10*time.Second)
	orDefault(&c.PingTimeout, 3*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) validate() error {
	switch {
	case c.Node <= 0:
		return fmt.Errorf("node id %d is invalid", c.Node)
	case c.Addr == nil:
		return errors.New("an address book is required")
	case c.QueueBytesMax < 1:
		return fmt.Errorf("limit of %d queued bytes must be positive", c.QueueBytesMax)
	case c.MessageBytesMax < 1<<10 || c.MessageBytesMax > 1<<30:
		return fmt.Errorf("messages of %d bytes: at least 1 KiB, at most 1 GiB", c.MessageBytesMax)
	case c.FrameBytes < 1 || c.StreamsMax < 1:
		return fmt.Errorf("frames of %d bytes and a limit of %d streams must be positive", c.FrameBytes, c.StreamsMax)
	case c.WindowBytes < 64<<10 || c.WindowBytes > 1<<30:
		return fmt.Errorf("window of %d bytes: at least 64 KiB, at most 1 GiB", c.WindowBytes)
	case c.DialTimeout <= 0 || c.PingEvery <= 0 || c.PingTimeout <= 0:
		return fmt.Errorf("timeouts of %v for dialling, %v and %v for pings must be positive", c.DialTimeout, c.PingEvery, c.PingTimeout)
	case c.BackoffMin <= 0 || c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("backoff from %v to %v must be positive and ascend", c.BackoffMin, c.BackoffMax)
	}
	return nil
}
