package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Config of Serve. A zero field means its default.
type Config struct {
	Listener net.Listener // required; Serve owns and closes it
	Backend  Backend      // required
	TLS      *tls.Config  // nil: plain text

	// FrameBytesMax is the largest Produce frame (socket.request.max.bytes,
	// 100 MiB), PlainFrameBytesMax the largest frame of any other request
	// (2 MiB): those are decoded into many times their size.
	FrameBytesMax, PlainFrameBytesMax int
	// SlabBytes is what a busy connection reads into at a time (256 KiB).
	SlabBytes int
	// RequestPartitionsMax is the most partitions one Produce or Fetch may name, and
	// the most topics (50,000).
	RequestPartitionsMax int
	// FetchBytesMax caps what one Fetch is answered with (fetch.max.bytes, 55 MiB).
	FetchBytesMax int
	// FetchBrokerBytesMax bounds what the replies to Fetch of all connections hold
	// (1 GiB). A Fetch waits for room as long as it may wait for data and is
	// answered without any after that; one alone may exceed it.
	FetchBrokerBytesMax int64

	// InflightMax and InflightBytesMax bound what one connection may have
	// unanswered (256 requests, 64 MiB); BrokerBytesMax all connections together
	// (1 GiB). Beyond a bound the connection is not read from until answers
	// went out; one request alone may exceed the byte bounds. A frame above half
	// of SlabBytes counts from the moment its size is known, and a request that is
	// decoded as many times its frame. A Produce counts until the log has answered,
	// whatever became of its client.
	InflightMax                      int
	InflightBytesMax, BrokerBytesMax int64
	// PartialBytesMax bounds the frames above half of SlabBytes that are not whole
	// yet, of all connections (half of BrokerBytesMax): whoever announces and does not
	// send keeps others who have much to send waiting, for at most FrameTimeout, and
	// nobody else.
	PartialBytesMax int64
	// Acks0BytesMax bounds what the log has not answered of all Produce with acks=0
	// together (16 MiB); one request alone may exceed it. Their clients wait for no
	// answer and hear of no refusal, so they are held back by TCP long before a
	// partition's queue (32 MiB) has to refuse, also when all write to one.
	Acks0BytesMax  int64
	ConnectionsMax int // 10,000; one more is closed at once

	IdleTimeout    time.Duration // no request for so long: closed (10 min)
	FrameTimeout   time.Duration // a started frame must be whole by then (30 s)
	WriteTimeout   time.Duration // a reply must have left by then (30 s)
	RequestTimeout time.Duration // for requests that bring no timeout (30 s)
	TimeoutMax     time.Duration // cap on a timeout a client asks for (5 min)
	DrainTimeout   time.Duration // Close waits so long for answers (5 s)

	// NowMS is the wall clock in milliseconds that LogAppendTime stamps: time.Now.
	// Called by any goroutine.
	NowMS func() int64
}

// ErrConfig is wrapped by every complaint of Serve about its Config.
var ErrConfig = errors.New("kafka front config")

func (c *Config) setDefaults() {
	def(&c.FrameBytesMax, 100<<20)
	def(&c.PlainFrameBytesMax, 2<<20)
	def(&c.SlabBytes, 256<<10)
	def(&c.RequestPartitionsMax, 50_000)
	def(&c.FetchBytesMax, 55<<20)
	def(&c.FetchBrokerBytesMax, 1<<30)
	def(&c.InflightMax, 256)
	def(&c.InflightBytesMax, 64<<20)
	def(&c.BrokerBytesMax, 1<<30)
	def(&c.PartialBytesMax, max(c.BrokerBytesMax/2, 1))
	def(&c.Acks0BytesMax, 16<<20)
	def(&c.ConnectionsMax, 10_000)
	def(&c.IdleTimeout, 10*time.Minute)
	def(&c.FrameTimeout, 30*time.Second)
	def(&c.WriteTimeout, 30*time.Second)
	def(&c.RequestTimeout, 30*time.Second)
	def(&c.TimeoutMax, 5*time.Minute)
	def(&c.DrainTimeout, 5*time.Second)
	if c.NowMS == nil {
		c.NowMS = func() int64 { return time.Now().UnixMilli() }
	}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) validate() error {
	switch {
	case c.Listener == nil:
		return fmt.Errorf("%w: no Listener", ErrConfig)
	case c.Backend == nil:
		return fmt.Errorf("%w: no Backend", ErrConfig)
	case c.FrameBytesMax < 1<<10 || c.FrameBytesMax > 1<<30:
		return fmt.Errorf("%w: FrameBytesMax %d is not within 1 KiB and 1 GiB", ErrConfig, c.FrameBytesMax)
	case c.PlainFrameBytesMax < 1<<10 || c.PlainFrameBytesMax > c.FrameBytesMax:
		return fmt.Errorf("%w: PlainFrameBytesMax %d is not within 1 KiB and FrameBytesMax", ErrConfig, c.PlainFrameBytesMax)
	case c.SlabBytes < slabBytesMin:
		return fmt.Errorf("%w: SlabBytes %d is below %d", ErrConfig, c.SlabBytes, slabBytesMin)
	case c.FetchBytesMax < 1 || c.FetchBytesMax > 1<<30:
		return fmt.Errorf("%w: FetchBytesMax %d is not within 1 and 1 GiB", ErrConfig, c.FetchBytesMax)
	case c.RequestPartitionsMax < 1 || c.InflightMax < 1 || c.InflightBytesMax < 1 ||
		c.BrokerBytesMax < 1 || c.PartialBytesMax < 1 || c.Acks0BytesMax < 1 || c.FetchBrokerBytesMax < 1 || c.ConnectionsMax < 1:
		return fmt.Errorf("%w: a limit is negative", ErrConfig)
	case c.IdleTimeout < 0 || c.FrameTimeout < 0 || c.WriteTimeout < 0 || c.RequestTimeout < 0 ||
		c.TimeoutMax < 0 || c.DrainTimeout < 0:
		return fmt.Errorf("%w: a timeout is negative", ErrConfig)
	}
	return nil
}
