package tcp

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// socketOf is the TCP connection below nc, nil if there is none to be seen.
func socketOf(nc net.Conn) *net.TCPConn {
	for {
		switch c := nc.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }: // TLS, and wrappers that follow it
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// tune sets what latency and the discovery of dead peers rest on. It is best
// effort: the write deadline and the handshake's hold without it.
func tune(nc net.Conn, keepAlive, unacknowledged time.Duration) {
	c := socketOf(nc)
	if c == nil {
		return
	}
	_ = c.SetNoDelay(true) // Go's default, said here because the latency rests on it
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive / 3, Count: 3})
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
		})
	}
}

// hangUp closes a connection at once. The socket goes first: closing TLS in good
// form may wait for a peer that takes nothing.
func hangUp(nc net.Conn) {
	if c := socketOf(nc); c != nil {
		_ = c.Close()
	}
	_ = nc.Close()
}
