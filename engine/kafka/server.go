package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/ids"
)

// Server answers the Kafka protocol on one listener. It owns one accepting
// goroutine and two per connection.
type Server struct {
	cfg     Config
	self    ids.NodeID
	budget  budget // of requests
	fetches budget // of replies to Fetch
	acks0   budget // of requests to Produce with acks=0, which are in the first too
	partial budget // of big frames that are not whole yet, which are in the first too
	// recompressing holds one for each batch being recompressed.
	recompressing chan struct{}
	count         counters
	start         time.Time

	ctx      context.Context // ends when the drain is over; calls run under it
	cancel   context.CancelFunc
	draining atomic.Bool

	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[*conn]struct{} // guarded by mu
	closed bool               // guarded by mu
	once   sync.Once
	err    error // of Close
}

// Serve starts answering on cfg.Listener and returns at once. The listener is
// the server's from then on, also when an error is returned.
func Serve(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		if cfg.Listener != nil {
			_ = cfg.Listener.Close()
		}
		return nil, err
	}
	s := &Server{cfg: cfg, self: cfg.Backend.Cluster().Self, start: time.Now(), conns: map[*conn]struct{}{}}
	s.budget.max, s.fetches.max = cfg.BrokerBytesMax, cfg.FetchBrokerBytesMax
	s.acks0.max, s.partial.max = cfg.Acks0BytesMax, cfg.PartialBytesMax
	s.recompressing = make(chan struct{}, runtime.GOMAXPROCS(0))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.cfg.Listener.Addr() }

// Close stops accepting and reading, lets what was read be answered for
// DrainTimeout (long polls are answered at once), closes all connections and
// waits for every goroutine. It is idempotent; any goroutine may call it. The
// Backend must still answer while it runs.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.draining.Store(true)
		s.err = s.cfg.Listener.Close()
		if errors.Is(s.err, net.ErrClosed) {
			s.err = nil
		}
		s.mu.Lock()
		s.closed = true
		for c := range s.conns {
			c.stopReading()
		}
		s.mu.Unlock()

		drained := make(chan struct{})
		go func() { // ends with the last connection, which the kill below forces
			s.wg.Wait()
			close(drained)
		}()
		timer := time.NewTimer(s.cfg.DrainTimeout)
		defer timer.Stop()
		select {
		case <-drained:
		case <-timer.C:
			s.cancel()
			s.mu.Lock()
			for c := range s.conns {
				c.kill(closedDrain)
			}
			s.mu.Unlock()
			<-drained
		}
		s.cancel()
	})
	return s.err
}

// now is the time since the server started: one word, monotonic.
func (s *Server) now() time.Duration { return time.Since(s.start) }

// accept owns the listener. A failing Accept (out of descriptors) is tried
// again after a pause that doubles up to a second, as net/http does.
func (s *Server) accept() {
	defer s.wg.Done()
	pause := 5 * time.Millisecond
	for {
		nc, err := s.cfg.Listener.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			s.serve(nc)
		case s.draining.Load() || errors.Is(err, net.ErrClosed):
			return
		default:
			select {
			case <-time.After(pause):
				pause = min(2*pause, time.Second)
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// serve starts the goroutines of one connection, or closes it where there are
// too many.
func (s *Server) serve(nc net.Conn) {
	s.count.accepted.Add(1)
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true) // Go's default, said here because the latency rests on it
	}
	c := newConn(s, nc)
	s.mu.Lock()
	if s.closed || len(s.conns) >= s.cfg.ConnectionsMax {
		s.mu.Unlock()
		s.count.closed[closedLimit].Add(1)
		c.cancel()
		if s.draining.Load() {
			reset(nc)
		}
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.count.connections.Add(1)
	s.wg.Add(2)
	s.mu.Unlock()
	go c.read()
	go c.write()
}

// forget takes a connection out; its writer calls it last.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.count.connections.Add(-1)
}

// wrap puts TLS over a connection where it is asked for.
func (s *Server) wrap(nc net.Conn) net.Conn {
	if s.cfg.TLS == nil {
		return nc
	}
	return tls.Server(nc, s.cfg.TLS)
}
