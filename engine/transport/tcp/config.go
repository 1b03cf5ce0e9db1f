package tcp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"dyno/engine/ids"
)

// Config of New. A zero field means its default.
type Config struct {
	Node      ids.NodeID // required
	ClusterID string     // required, at most 255 bytes; peers of another cluster are refused
	// Listener is required; Close closes it. Connections that wrap others, here
	// and of Dial, tell by NetConn what they wrap, or go without keep-alive.
	Listener net.Listener
	// Addr is the address book, asked before each attempt to connect; required.
	// It must not block.
	Addr func(ids.NodeID) (addr string, ok bool)
	// Dial makes a connection; it must give up when ctx ends. The default is a
	// plain net.Dialer.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// QueueBytesMax bounds what waits for one lane of one peer, by
	// transport.Size (64 MiB). A message alone may exceed it. A message without
	// data counts as 64 bytes and takes 176.
	QueueBytesMax int64
	// FrameBytesMax is the largest frame taken from a peer, which learns it in
	// the handshake (64 MiB; 128 KiB to 256 MiB). A message that needs a larger
	// one is dropped by its sender.
	FrameBytesMax int
	// ConnectionsMax bounds the accepted connections, those in the handshake
	// included (4096). One more is closed at once.
	ConnectionsMax int

	// HandshakeTimeout is for a whole attempt to connect, dialling included, and
	// on the other side from accept to the end of the hello (2 s).
	HandshakeTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the pause between two attempts, which
	// doubles (50 ms, 1 s). Half of it is left to chance.
	ReconnectMin, ReconnectMax time.Duration
	// WriteTimeout ends a connection whose peer does not take a write of up to
	// 2 MiB, or acknowledges nothing, for so long (5 s).
	WriteTimeout time.Duration
	// KeepAlive is how long a connection is silent before TCP asks whether the
	// peer is still there: three times, each a third of it apart (10 s).
	KeepAlive time.Duration

	// Log hears of refusals, broken frames and peers that come and go; each once
	// per change, or once a minute (slog.Default()).
	Log *slog.Logger
}

const (
	clusterBytesMax  = 255
	frameBytesMaxMin = 128 << 10
	frameBytesMaxMax = 256 << 20
)

func (c *Config) setDefaults() {
	if c.Dial == nil {
		d := net.Dialer{KeepAlive: -1} // tune sets it
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	def(&c.QueueBytesMax, 64<<20)
	def(&c.FrameBytesMax, 64<<20)
	def(&c.ConnectionsMax, 4096)
	def(&c.HandshakeTimeout, 2*time.Second)
	def(&c.ReconnectMin, 50*time.Millisecond)
	def(&c.ReconnectMax, time.Second)
	def(&c.WriteTimeout, 5*time.Second)
	def(&c.KeepAlive, 10*time.Second)
	def(&c.Log, slog.Default())
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) validate() error {
	switch {
	case c.Node <= 0:
		return fmt.Errorf("%w: node %d", ErrConfig, c.Node)
	case c.ClusterID == "" || len(c.ClusterID) > clusterBytesMax:
		return fmt.Errorf("%w: cluster id %q must have 1 to %d bytes", ErrConfig, c.ClusterID, clusterBytesMax)
	case c.Listener == nil:
		return fmt.Errorf("%w: no listener", ErrConfig)
	case c.Addr == nil:
		return fmt.Errorf("%w: no address book", ErrConfig)
	case c.QueueBytesMax < 0 || c.ConnectionsMax < 0:
		return fmt.Errorf("%w: negative limit", ErrConfig)
	case c.FrameBytesMax < frameBytesMaxMin || c.FrameBytesMax > frameBytesMaxMax:
		return fmt.Errorf("%w: FrameBytesMax %d is not in [%d, %d]", ErrConfig, c.FrameBytesMax, frameBytesMaxMin, frameBytesMaxMax)
	case min(c.HandshakeTimeout, c.ReconnectMin, c.WriteTimeout, c.KeepAlive) < 0 || c.ReconnectMax < c.ReconnectMin:
		return fmt.Errorf("%w: durations must be positive, and ReconnectMin at most ReconnectMax", ErrConfig)
	}
	return nil
}
