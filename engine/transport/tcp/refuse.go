package tcp

import (
	"net"
	"time"

	"dyno/engine/ids"
)

// Refuse answers a connection that a transport of this package dialled, on a node
// that uses another one, and closes it: the peer fails with ErrOtherTransport. It
// blocks until the peer has said its hello, for 2 s at most.
func Refuse(nc net.Conn, node ids.NodeID) {
	defer hangUp(nc)
	var c Config
	c.setDefaults()
	_ = nc.SetDeadline(time.Now().Add(c.HandshakeTimeout))
	if _, err := readHello(nc); err == nil || codeOf(err) != codeOK {
		_, _ = nc.Write(answer{version: version, code: codeOtherTransport, node: node, frameMax: uint32(c.FrameBytesMax)}.append(nil))
	}
}
