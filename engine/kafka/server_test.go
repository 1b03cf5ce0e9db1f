package kafka

import (
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a fake node on loopback and returns both and the address.
func start(t testing.TB, change ...func(*Config)) (*Server, *fakeNode, string) {
	t.Helper()
	n := newFakeNode(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().(*net.TCPAddr)
	cfg := Config{Listener: l, Backend: n}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Serve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left := s.Snapshot(); left.BytesInFlight != 0 || left.FetchBytesInFlight != 0 || left.Connections != 0 {
			t.Errorf("after Close %d bytes are in flight on %d connections", left.BytesInFlight+left.FetchBytesInFlight, left.Connections)
		}
	})
	return s, n, l.Addr().String()
}
