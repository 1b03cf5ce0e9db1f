package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"syscall"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// Magic is how each connection begins, in both directions: a listener that is
// shared tells the protocol by it.
const Magic = "DYN1"

// version of everything after Magic. The first 8 bytes of a hello and all of an
// answer stay as they are in every version, so that a refusal can be read.
const version = 1

const (
	helloPrefix   = 8 // magic, version u16, n u16
	helloBytesMin = 4 + 4 + 1 + 1 + 4
	helloBytesMax = helloBytesMin + clusterBytesMax
	answerBytes   = 20
)

// code is what a hello is answered with.
type code uint8

const (
	codeOK code = iota
	codeForeignCluster
	codeWrongNode
	codeVersion
	codeMalformed
	codeOtherTransport
)

// refusals are the errors of the codes.
var refusals = map[code]error{
	codeForeignCluster: ErrForeignCluster,
	codeWrongNode:      ErrWrongNode,
	codeVersion:        ErrVersion,
	codeMalformed:      ErrProtocol,
	codeOtherTransport: ErrOtherTransport,
}

// codeOf is codeOK for nil and for what is not answered at all.
func codeOf(err error) code {
	for c, e := range refusals {
		if errors.Is(err, e) {
			return c
		}
	}
	return codeOK
}

// hello is what a node that dialled says.
type hello struct {
	cluster  string
	from, to ids.NodeID
	lane     transport.Lane
}

func (h hello) append(b []byte) []byte {
	start := len(b)
	b = append(b, Magic...)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = binary.LittleEndian.AppendUint16(b, uint16(helloBytesMin+len(h.cluster)))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.from))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.to))
	b = append(b, byte(h.lane), byte(len(h.cluster)))
	b = append(b, h.cluster...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// readHello reads no byte beyond it. Errors: ErrVersion and ErrProtocol are to
// be answered; errGone, errSlow and errNotOurs are not.
func readHello(r io.Reader) (hello, error) {
	var b [helloPrefix + helloBytesMax]byte
	if n, err := io.ReadFull(r, b[:helloPrefix]); err != nil {
		return hello{}, whyNoHello(b[:n], err)
	}
	n := int(binary.LittleEndian.Uint16(b[6:]))
	switch v := binary.LittleEndian.Uint16(b[4:]); {
	case string(b[:len(Magic)]) != Magic:
		return hello{}, fmt.Errorf("%w: it begins with %q", errNotOurs, b[:len(Magic)])
	case v != version:
		return hello{}, skip(r, n, fmt.Errorf("%w: %d instead of %d", ErrVersion, v, version))
	case n < helloBytesMin || n > helloBytesMax:
		return hello{}, skip(r, n, fmt.Errorf("%w: hello of %d bytes", ErrProtocol, n))
	}
	whole := b[:helloPrefix+n]
	if _, err := io.ReadFull(r, whole[helloPrefix:]); err != nil {
		return hello{}, whyNoHello(whole, err)
	}
	end := len(whole) - 4
	h := hello{
		from:    ids.NodeID(binary.LittleEndian.Uint32(b[8:])),
		to:      ids.NodeID(binary.LittleEndian.Uint32(b[12:])),
		lane:    transport.Lane(b[16]),
		cluster: string(whole[18:end]),
	}
	if crc32.Checksum(whole[:end], castagnoli) != binary.LittleEndian.Uint32(whole[end:]) ||
		len(h.cluster) != int(b[17]) || h.from <= 0 || h.lane >= transport.Lanes {
		return hello{}, fmt.Errorf("%w: hello %x", ErrProtocol, whole)
	}
	return h, nil
}

// skip reads what is left of a hello that is refused: closing a socket with
// bytes unread resets it, and the answer would be lost.
func skip(r io.Reader, n int, refusal error) error {
	if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
		return whyNoHello([]byte(Magic), err)
	}
	return refusal
}

func whyNoHello(got []byte, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	case len(got) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return fmt.Errorf("%w: %w", errNotOurs, err)
}

// check says why a hello is refused.
func (c *Config) check(h hello) error {
	switch {
	case h.cluster != c.ClusterID:
		return fmt.Errorf("%w: %q", ErrForeignCluster, h.cluster)
	case h.to != c.Node:
		return fmt.Errorf("%w: node %d is looked for", ErrWrongNode, h.to)
	}
	return nil
}

// answer is what a hello is answered with.
type answer struct {
	version  uint16
	code     code
	node     ids.NodeID
	frameMax uint32
}

func (a answer) append(b []byte) []byte {
	start := len(b)
	b = append(b, Magic...)
	b = binary.LittleEndian.AppendUint16(b, a.version)
	b = append(b, byte(a.code), 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(a.node))
	b = binary.LittleEndian.AppendUint32(b, a.frameMax)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func readAnswer(r io.Reader) (answer, error) {
	var b [answerBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return answer{}, err
	}
	const end = answerBytes - 4
	if string(b[:len(Magic)]) != Magic || crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return answer{}, fmt.Errorf("%w: answer %x", ErrProtocol, b)
	}
	return answer{
		version:  binary.LittleEndian.Uint16(b[4:]),
		code:     code(b[6]),
		node:     ids.NodeID(binary.LittleEndian.Uint32(b[8:])),
		frameMax: binary.LittleEndian.Uint32(b[12:]),
	}, nil
}

// greet makes the handshake of the side that dialled and returns the largest
// frame the peer takes. Errors: ErrForeignCluster, ErrWrongNode, ErrVersion,
// ErrProtocol, or what the network says.
func greet(nc net.Conn, h hello) (frameMax int, err error) {
	if _, err := nc.Write(h.append(nil)); err != nil {
		return 0, err
	}
	a, err := readAnswer(nc)
	if err != nil {
		return 0, fmt.Errorf("answer: %w", err)
	}
	switch refusal := refusals[a.code]; {
	case refusal != nil:
		return 0, fmt.Errorf("%w: node %d with protocol version %d refuses", refusal, a.node, a.version)
	case a.code != codeOK || a.version != version || a.frameMax < frameBytesMaxMin || a.frameMax > frameBytesMaxMax:
		return 0, fmt.Errorf("%w: answer %+v", ErrProtocol, a)
	case a.node != h.to:
		return 0, fmt.Errorf("%w: node %d answers", ErrWrongNode, a.node)
	}
	return int(a.frameMax), nil
}
