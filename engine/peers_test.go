package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClusterOverGRPC: Raft's messages travel in streams of gRPC in either form,
// with and without TLS, and a node that ends and comes back is heard.
func TestClusterOverGRPC(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			ca := testCA(t)
			forms := []PeerTransport{TransportGRPC, TransportGRPC, TransportGRPCStock}
			c := newClusterBed(t, 3, func(cfg *Config) {
				cfg.PeerTransport, forms = forms[0], forms[1:]
				if secure {
					cfg.PeerTLS = ca.config(t)
				}
			})
			c.topic("t", 3, 3)
			c.produce("t", 0, 50)
			c.stop(3)
			c.produce("t", 50, 50)
			c.start(3)
			c.consume("t", 100)
			c.caughtUp(3)
			s := c.nodes[0].peers.stats()
			if s.SentMessages == 0 || s.SentFrames == 0 || s.ReceivedBytes == 0 || s.Connects == 0 || len(s.Peers) != 2 || s.Peers[1].Node != 3 {
				t.Errorf("counted %+v", s)
			}
			if s.Writes != 0 {
				t.Errorf("%d writes of frames", s.Writes)
			}
		})
	}
}

// caughtUp waits until a node is reached again by all.
func (c *clusterBed) caughtUp(id int) {
	c.t.Helper()
	ctx := c.ctx()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		up := 0
		for i, n := range c.nodes {
			for _, p := range n.peers.stats().Peers {
				if i != id-1 && int(p.Node) == id && p.Lanes[0].Connected {
					up++
				}
			}
		}
		if up == len(c.nodes)-1 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("node %d is not reached again", id)
		}
	}
}

// TestOtherTransportIsRefused: a node that uses another transport than the others
// is no part of the cluster, and each side's log says why.
func TestOtherTransportIsRefused(t *testing.T) {
	t.Parallel()
	logs := make([]logText, 3)
	left := logs
	c := newClusterBed(t, 3, func(cfg *Config) {
		cfg.Log, left = slog.New(slog.NewTextHandler(&left[0], nil)), left[1:]
	})
	c.stop(3)
	c.cfg[2].PeerTransport = TransportGRPC
	opened := make(chan *Node)
	go func() {
		n, err := Open(c.cfg[2]) // it gets in when the others use what it does
		if err != nil {
			t.Error(err)
		}
		opened <- n
	}()
	for i := range logs {
		logs[i].await(t, "peer uses another transport; give all nodes of a cluster the same")
	}
	select {
	case <-opened:
		t.Fatal("a node with another transport serves")
	default:
	}
	c.stop(1, 2)
	c.cfg[0].PeerTransport, c.cfg[1].PeerTransport = TransportGRPC, TransportGRPC
	c.start(1, 2)
	c.nodes[2] = <-opened
}

// logText is what a log wrote.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// await waits until the log has a line with those words.
func (l *logText) await(t *testing.T, words string) {
	t.Helper()
	ctx := soon(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no line says %q:\n%s", words, text)
		}
	}
}

func TestUnknownTransport(t *testing.T) {
	c := Config{DataDir: bedDir, PeerTransport: "quic"}
	c.setDefaults()
	if err := c.validate(); err == nil || !strings.Contains(err.Error(), `transport "quic": want tcp, grpc or grpc-stock`) {
		t.Errorf("%v", err)
	}
}
