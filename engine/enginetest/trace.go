package enginetest

import (
	"fmt"
	"hash"
	"hash/fnv"
	"regexp"
	"strings"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// traceMax is how many of the newest lines are kept.
const traceMax = 4000

// trace is what happened, a line each. Its hash is that of the whole run: two
// runs with the same hash did the same. Guarded by Cluster.mu.
type trace struct {
	hash     hash.Hash64
	lines    []string       // newest last, at most 2*traceMax
	only     *regexp.Regexp // keep lines that match; nil: all
	messages bool           // put messages into lines, not into the hash alone
	buf      []byte
	quiets   int // heartbeats that say quiet
}

func (t *trace) init() { t.hash = fnv.New64a() }

func (t *trace) add(line string) {
	t.hash.Write([]byte(line))
	t.hash.Write([]byte{'\n'})
	t.keep(line)
}

func (t *trace) keep(line string) {
	if t.only != nil && !t.only.MatchString(line) {
		return
	}
	if len(t.lines) == 2*traceMax {
		t.lines = t.lines[:copy(t.lines, t.lines[traceMax:])]
	}
	t.lines = append(t.lines, line)
}

// note adds a line. Any goroutine.
func (c *Cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trace.add(fmt.Sprintf(format, args...))
}

// ShowMessages puts every message that is delivered into the trace; without it
// they are in the hash only.
func (c *Cluster) ShowMessages(on bool) { c.trace.messages = on }

// ShowOnly keeps lines that match; nil: all. What is hashed does not change.
func (c *Cluster) ShowOnly(lines *regexp.Regexp) { c.trace.only = lines }

// message notes one message that is about to be delivered.
func (c *Cluster) message(from, to ids.NodeID, e *transport.Envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, m := &c.trace, &e.Message
	last := uint64(0)
	if k := len(m.Entries); k > 0 {
		last = m.Entries[k-1].Index
	}
	reject := 0
	if m.Reject {
		reject = 1
	}
	t.buf = t.buf[:0]
	for _, x := range []uint64{uint64(from), uint64(to), uint64(e.Group), uint64(m.Type), m.Term, m.LogTerm, m.Index, m.Commit, last, uint64(reject)} {
		t.buf = append(t.buf, byte(x), byte(x>>8), byte(x>>16), byte(x>>24))
	}
	t.hash.Write(t.buf)
	if saysQuiet(e) {
		t.quiets++
	}
	if !t.messages || strings.HasPrefix(m.Type.String(), "MsgHeartbeat") {
		return
	}
	line := fmt.Sprintf("net  %d->%d: p%d %s term=%d", from, to, partitionOf(e.Group), strings.TrimPrefix(m.Type.String(), "Msg"), m.Term)
	switch {
	case len(m.Entries) > 0:
		line += fmt.Sprintf(" after=%d/%d entries=%d..%d commit=%d", m.Index, m.LogTerm, m.Entries[0].Index, last, m.Commit)
	case m.Index > 0 || m.LogTerm > 0:
		line += fmt.Sprintf(" at=%d/%d commit=%d", m.Index, m.LogTerm, m.Commit)
	}
	if m.Reject {
		line += " reject"
	}
	t.keep(line)
}

// saysQuiet tells the heartbeat by which a group goes quiet. An answer to one has its
// context, too, and says nothing: who sends it does not go quiet.
func saysQuiet(e *transport.Envelope) bool {
	return e.Message.Type.String() == "MsgHeartbeat" && string(e.Message.Context) == "quiet"
}

// Hash is the hash of everything noted so far.
func (c *Cluster) Hash() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trace.hash.Sum64()
}

// Lines takes the lines that were noted since the last call, at most traceMax.
func (c *Cluster) Lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.trace.lines
	c.trace.lines = nil
	return lines
}
