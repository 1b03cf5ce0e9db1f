package kafka

import (
	"context"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// header is what a request begins with (header versions 1 and 2).
type header struct {
	key, version int16
	correlation  int32
	flexible     bool // of the body
}

// parseHeader reads the header of a frame and returns the body behind it. The
// frame is at least eight bytes long and its key and version are served.
func parseHeader(f []byte) (h header, body []byte, ok bool) {
	d := dec{b: f}
	h.key, h.version, h.correlation = d.i16(), d.i16(), d.i32()
	h.flexible = h.version >= apis[h.key].flexible
	d.nullable(false) // client id
	if h.key == keyApiVersions && h.version > apis[h.key].max {
		return h, nil, !d.bad // whatever follows is of a version nobody knows here
	}
	d.tags(h.flexible)
	return h, d.b, !d.bad
}

// call is a request that the writer runs when its turn comes.
type call struct {
	header
	req   kmsg.Request
	fetch *fetch // instead of req
}

// How many times its frame a request is taken to be in memory once it is decoded:
// an element of a list is two or three bytes long where it is shortest, and up to a
// hundred as a struct. A partition of a Fetch has 16 bytes at least, and 160 as a
// struct; thousands of consumers wait with theirs. Batches of a Produce stay what
// they are.
const (
	decodedFactor = 32
	fetchFactor   = 10
)

// weight is what a frame of n bytes counts against the limits of bytes. head is
// its begin.
func weight(head []byte, n int) int {
	switch int16(binary.BigEndian.Uint16(head)) {
	case keyProduce:
		return n
	case keyFetch:
		return fetchFactor * n
	}
	return decodedFactor * n
}

// request takes one frame in: a Produce goes to the log now, anything else is
// decoded, so that nothing refers to the slab, and waits for its turn. It
// returns false where the connection must end.
func (c *conn) request(f []byte) bool {
	bytes := weight(f, len(f))
	if !c.admit(bytes) {
		c.because(closedDrain)
		return false
	}
	h, body, ok := parseHeader(f)
	e := entry{bytes: bytes}
	switch {
	case !ok:
	case h.key == keyProduce:
		e.prod, ok = c.produce(h, body, bytes)
	case h.key == keyFetch:
		e.call = &call{header: h}
		e.call.fetch, ok = parseFetch(h, body, c.srv.cfg.RequestPartitionsMax)
	default:
		e.call = &call{header: h}
		e.call.req, ok = decode(h, body)
	}
	if !ok {
		c.srv.budget.release(int64(bytes))
		c.because(closedGarbage)
		return false
	}
	c.srv.count.requests[h.key].Add(1)
	c.ring.push(e)
	return true
}

// decode decodes a request by kmsg after its shape was checked.
func decode(h header, body []byte) (kmsg.Request, bool) {
	req := kmsg.RequestForKey(h.key)
	if h.key == keyApiVersions && h.version > apis[h.key].max {
		req.SetVersion(h.version)
		return req, true
	}
	req.SetVersion(h.version)
	if !checkShape(apis[h.key].shape, h.version, h.flexible, body) {
		return nil, false
	}
	return req, req.ReadFrom(body) == nil
}

// run answers a call into the reply buffer. It is on the writer and may block.
func (c *conn) run(k *call) {
	if k.fetch != nil {
		c.runFetch(k)
		return
	}
	resp := apis[k.key].handle(c, k.req)
	// ApiVersions keeps the old header for ever, so that a client that does not
	// know the broker's versions can read it (KIP-511).
	c.wr.begin(k.correlation, resp.IsFlexible() && k.key != keyApiVersions)
	c.wr.appender(resp.AppendTo)
	c.wr.end()
}

// deadline gives the context for a Backend call that may take ms milliseconds,
// or the configured time where the request says nothing (ms < 0).
func (c *conn) deadline(ms int32) (context.Context, context.CancelFunc) {
	d := c.srv.cfg.RequestTimeout
	if ms >= 0 {
		d = c.srv.timeout(ms)
	}
	return context.WithTimeout(c.ctx, d)
}

// fail counts an error code and returns it for a response.
func (c *conn) fail(e code) int16 {
	c.srv.count.failed(e)
	return int16(e)
}
