package kafka

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
)

// TestDrainResetsTheNew: a connection that a drain ends before anything was
// answered on it ends with a reset, which clients ask again after; an end of
// stream as the first thing read makes them give up.
func TestDrainResetsTheNew(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve(Config{Listener: l, Backend: newFakeNode(t)})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for s.Snapshot().Connections == 0 { // until it is accepted
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v, want a reset", err)
	}
}
