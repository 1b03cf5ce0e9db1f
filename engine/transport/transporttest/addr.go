package transporttest

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports that a test may stop listening on and take again: below those that the
// kernel gives by itself, to listeners on port 0 and to connections that go out.
const (
	firstPort = 10_000
	portCount = 20_000
)

var portsTried atomic.Uint32

// FreeAddr is a TCP address on loopback that nobody listens on, and that stays
// free while the test's own server is down: its host is this process's own, and
// its port is given once.
func FreeAddr(t testing.TB) string {
	t.Helper()
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 16+pid>>14&0x7f, pid>>7&0x7f, 1+pid&0x7f)
	for range portCount {
		addr := fmt.Sprintf("%s:%d", host, firstPort+portsTried.Add(1)%portCount)
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatalf("no free port on %s", host)
	return ""
}
