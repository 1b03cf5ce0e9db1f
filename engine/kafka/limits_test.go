package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/partition"
)

// TestConfig checks that what cannot work is refused by name.
func TestConfig(t *testing.T) {
	n := newFakeNode(t)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for name, c := range map[string]Config{
		"no listener": {Backend: n},
		"no backend":  {Listener: listen()},
		"frame":       {Listener: listen(), Backend: n, FrameBytesMax: 5},
		"plain frame": {Listener: listen(), Backend: n, PlainFrameBytesMax: 1 << 30},
		"slab":        {Listener: listen(), Backend: n, SlabBytes: 1},
		"fetch":       {Listener: listen(), Backend: n, FetchBytesMax: -1},
		"inflight":    {Listener: listen(), Backend: n, InflightMax: -1},
		"timeout":     {Listener: listen(), Backend: n, IdleTimeout: -1},
	} {
		if _, err := Serve(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStalledReader has a client that sends requests and never reads replies.
// The server must stop reading from it, keep its memory bounded, and serve
// others meanwhile.
func TestStalledReader(t *testing.T) {
	s, n, addr := start(t, func(c *Config) { c.InflightMax, c.InflightBytesMax = 16, 1<<20 })
	topic := n.add("t", 1)
	fill(topic.parts[0], 20)
	stalled := dial(t, addr)
	_ = stalled.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	var req []byte
	for range 100 {
		req = append(req, frame(fetchFrom(12, topic, 0, 0), 1)...)
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sent := 0
	for { // until TCP holds the client back
		_ = stalled.nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		k, err := stalled.nc.Write(req)
		if sent += k; err != nil {
			break
		}
	}
	if s.Snapshot().ConnectionLimitWaits == 0 {
		t.Errorf("after %d bytes the server still reads", sent)
	}
	other := dial(t, addr)
	for range 50 {
		if e, _ := code1(t, other.ask(produceTo(9, topic, 0, -1, batch(1, 100, -1, -1, -1)))); e != 0 {
			t.Fatalf("the neighbour: code %d", e)
		}
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("memory grew by %d bytes for a client that does not read", grown)
	}
}

// TestInflightLimit checks that no more than InflightMax requests are taken
// from one connection, and that the rest follows once they are answered.
func TestInflightLimit(t *testing.T) {
	inTime(t, Config{InflightMax: 3}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		p := topic.parts[0]
		p.hold = true
		c := dialled(t, dial())
		req := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
		var all []byte
		for i := range 10 {
			all = append(all, frame(req, int32(i+1))...)
		}
		c.write(all)
		synctest.Wait()
		p.mu.Lock()
		held := len(p.held)
		p.mu.Unlock()
		if held != 3 || s.Snapshot().ConnectionLimitWaits != 1 {
			t.Errorf("%d requests were taken in, %d waits", held, s.Snapshot().ConnectionLimitWaits)
		}
		p.let()
		for i := range 10 {
			if e, _ := code1(t, c.recv(req, int32(i+1))); e != 0 {
				t.Errorf("request %d: code %d", i, e)
			}
		}
	})
}

// TestAcks0Limit checks that clients that wait for no answer are held back
// together at Acks0BytesMax, and that nothing of theirs is lost or refused.
func TestAcks0Limit(t *testing.T) {
	const most = 600 // a few requests; all of them are read at once
	inTime(t, Config{Acks0BytesMax: most}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		p := topic.parts[0]
		p.hold = true
		req := produceTo(9, topic, 0, 0, batch(1, 1, -1, -1, -1))
		want := most / (len(frame(req, 1)) - 4) // without its length
		var all []byte
		for i := range 10 {
			all = append(all, frame(req, int32(i+1))...)
		}
		clients := []*raw{dialled(t, dial()), dialled(t, dial())}
		for _, c := range clients {
			c.write(all)
			synctest.Wait()
		}
		p.mu.Lock()
		held := len(p.held)
		p.mu.Unlock()
		if st := s.Snapshot(); held != want || want < 2 || st.Acks0BytesLimitWaits != 2 || st.Acks0BytesInFlight > most {
			t.Errorf("%d requests were taken in, want %d; %d waits, %d bytes", held, want, st.Acks0BytesLimitWaits, st.Acks0BytesInFlight)
		}
		p.let()
		synctest.Wait()
		last := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
		clients[0].write(frame(last, 11))
		if e, got := code1(t, clients[0].recv(last, 11)); e != 0 || got.BaseOffset != 20 {
			t.Errorf("after twenty records at acks=0: code %d, offset %d", e, got.BaseOffset)
		}
		if st := s.Snapshot(); st.Acks0BytesInFlight != 0 {
			t.Errorf("%d bytes are never given back", st.Acks0BytesInFlight)
		}
	})
}

// TestBrokerLimit checks that the bytes of all connections together are
// bounded, and that a connection held back goes on when another is answered.
func TestBrokerLimit(t *testing.T) {
	inTime(t, Config{BrokerBytesMax: 3000}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		p := topic.parts[0]
		p.hold = true
		req := produceTo(9, topic, 0, -1, batch(1, 1800, -1, -1, -1))
		a, b := dialled(t, dial()), dialled(t, dial())
		a.send(req)
		synctest.Wait()
		b.send(req)
		synctest.Wait()
		p.mu.Lock()
		held := len(p.held)
		p.mu.Unlock()
		if held != 1 || s.Snapshot().BrokerBytesLimitWaits != 1 {
			t.Errorf("%d requests were taken in, %d waits", held, s.Snapshot().BrokerBytesLimitWaits)
		}
		p.let()
		for _, c := range []*raw{a, b} {
			if e, _ := code1(t, c.recv(req, 1)); e != 0 {
				t.Errorf("code %d", e)
			}
		}
		if left := s.Snapshot().BytesInFlight; left != 0 {
			t.Errorf("%d bytes are still taken", left)
		}
	})
}

// TestBytesStayWithTheLog checks that a request counts for as long as the log has
// it: neither a client that does not wait nor one that goes away makes room.
func TestBytesStayWithTheLog(t *testing.T) {
	for _, acks := range []int16{0, 1, -1} {
		t.Run(fmt.Sprint("acks ", acks), func(t *testing.T) {
			inTime(t, Config{}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
				topic := n.add("t", 1)
				p := topic.parts[0]
				p.hold = true
				impatient := produceTo(9, topic, 0, acks, batch(1, 1000, -1, -1, -1))
				impatient.TimeoutMillis = 0
				patient := produceTo(9, topic, 0, acks, batch(1, 1000, -1, -1, -1))
				size := int64(len(frame(impatient, 1)) - prefixBytes)
				stays, goes := dialled(t, dial()), dialled(t, dial())
				stays.send(impatient)
				if acks != 0 {
					if e, _ := code1(t, stays.recv(impatient, 1)); e != codeRequestTimedOut {
						t.Errorf("code %d", e)
					}
				}
				goes.send(patient)
				synctest.Wait()
				_ = goes.nc.Close()
				synctest.Wait()
				want := [2]int64{2 * size, 0}
				if acks == 0 {
					want[1] = want[0]
				}
				if st := s.Snapshot(); [2]int64{st.BytesInFlight, st.Acks0BytesInFlight} != want {
					t.Errorf("the log has %d bytes, %d are taken, %d of them at acks=0", 2*size, st.BytesInFlight, st.Acks0BytesInFlight)
				}
				p.let()
				synctest.Wait()
				if st := s.Snapshot(); st.BytesInFlight != 0 || st.Acks0BytesInFlight != 0 {
					t.Errorf("the log has answered, and %d bytes are taken, %d of them at acks=0", st.BytesInFlight, st.Acks0BytesInFlight)
				}
			})
		})
	}
}

// TestDecodedRequestsCountMore checks that requests which are decoded count as what
// they become, so that a client which waits in a long poll cannot have much more
// decoded behind it than its limit says.
func TestDecodedRequestsCountMore(t *testing.T) {
	inTime(t, Config{InflightBytesMax: 1 << 20}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		c := dialled(t, dial())
		poll := fetchFrom(12, topic, 0, 0)
		poll.MaxWaitMillis, poll.MinBytes = 60_000, 1
		c.send(poll)
		synctest.Wait()
		many := kmsg.NewPtrMetadataRequest()
		many.SetVersion(9)
		for range 4000 {
			many.Topics = append(many.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr("")})
		}
		go func() {
			for i := range 10 {
				if _, err := c.nc.Write(frame(many, int32(i+2))); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if got := s.Snapshot(); got.BytesInFlight > 1<<20+fetchFactor*int64(len(frame(poll, 1))) || got.BytesInFlight < 1<<19 || got.ConnectionLimitWaits != 1 {
			t.Errorf("%d bytes are taken, %d waits", got.BytesInFlight, got.ConnectionLimitWaits)
		}
	})
}

func TestConnectionLimit(t *testing.T) {
	s, n, addr := start(t, func(c *Config) { c.ConnectionsMax = 2 })
	md := request[*kmsg.MetadataRequest](n.add("t", 1))
	a, b := dial(t, addr), dial(t, addr)
	a.ask(md)
	b.ask(md)
	dial(t, addr).closed()
	a.ask(md)
	if got := s.Snapshot().ConnectionsLimitRefused; got != 1 {
		t.Errorf("counted %d refused", got)
	}
}

// TestCloseDrains checks that Close lets what was read be answered, and that a
// log that never answers holds it up for DrainTimeout only.
func TestCloseDrains(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		p := topic.parts[0]
		p.hold = true
		c := dialled(t, dial())
		req := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
		c.send(req)
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		<-time.After(time.Second)
		p.let()
		if e, _ := code1(t, c.recv(req, 1)); e != 0 {
			t.Errorf("code %d", e)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	inTime(t, Config{DrainTimeout: 3 * time.Second}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		p := topic.parts[0]
		p.hold = true
		c := dialled(t, dial())
		c.send(produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1)))
		synctest.Wait()
		from := time.Now()
		if err := s.Close(); err != nil || time.Since(from) != 3*time.Second {
			t.Errorf("closed after %v: %v", time.Since(from), err)
		}
		c.closed()
		p.let() // far too late, and harmless
	})
}

// TestAppendWhileClosing closes the server under load: every request is
// answered or its connection closed, nothing leaks (TestMain looks).
func TestAppendWhileClosing(t *testing.T) {
	s, n, addr := start(t)
	topic := n.add("t", 1)
	arrived := make(chan struct{}, 1000)
	topic.parts[0].hook = func(*partition.Append) {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}
	for range 4 {
		c := dial(t, addr)
		go func() {
			for {
				if _, err := c.nc.Write(frame(produceTo(9, topic, 0, -1, batch(1, 100, -1, -1, -1)), 1)); err != nil {
					return
				}
			}
		}()
		go func() {
			for {
				if _, err := c.nc.Read(make([]byte, 4096)); err != nil {
					_ = c.nc.Close()
					return
				}
			}
		}()
	}
	for range 500 {
		<-arrived
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestTLS produces and consumes over TLS, big batches included, and checks
// that plain text is refused.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	s, n, addr := start(t, func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	})
	n.add("t", 1)
	dialTLS := kgo.DialTLSConfig(&tls.Config{RootCAs: pool})
	cl := client(t, addr, dialTLS, kgo.DefaultProduceTopic("t"))
	ctx := within(t, 10*time.Second)
	for i := range 2000 {
		cl.Produce(ctx, kgo.StringRecord(value(i)), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	consume(t, addr, "t", 2000, dialTLS)
	c := dial(t, addr)
	c.write([]byte("GET / HTTP/1.0\r\n\r\n"))
	for { // the handshake's alert, then the end
		if _, err := c.r.ReadByte(); err != nil {
			break
		}
	}
	if s.Snapshot().Closed["tls_handshake"] != 1 {
		t.Errorf("closed for %v", s.Snapshot().Closed)
	}
}
