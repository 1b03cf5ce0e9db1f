package multiraft

import (
	"sync"
	"time"

	"dyno/engine/replica"
)

// pace limits what this node sends to replicas that catch up, all groups and peers
// together: snapshots, and entries that are no longer in memory, so that reading and
// sending them leaves disk and network to those who are up to date. It is a bucket
// of bytes that fills at rate up to burst. What is asked for while there is anything
// in it is sent whole, and may leave a debt; while there is none, nobody is read for.
//
// Nothing waits in a queue and no timer runs: a leader that was refused asks again
// when the peer answers its next heartbeat. Hence burst is more than what flows in
// between two of them.
type pace struct {
	clock func() time.Duration
	rate  float64 // bytes per second
	burst float64

	mu     sync.Mutex // guards what follows: all workers share the bucket
	bytes  float64    // in the bucket; below zero after a large message
	at     time.Duration
	dry    bool          // somebody was refused since since
	since  time.Duration // likewise
	waited time.Duration
	sent   uint64
	waits  uint64
}

var _ replica.Pace = (*pace)(nil)

// burstSeconds of the rate may be sent at once: two heartbeats and some.
const burstSeconds = 0.25

// newPace makes a full bucket. A rate of 0 limits nothing.
func newPace(bytesPerSecond int64, clock func() time.Duration) *pace {
	p := &pace{clock: clock, rate: float64(bytesPerSecond), at: clock()}
	p.burst = max(1, p.rate*burstSeconds)
	p.bytes = p.burst
	return p
}

// May implements replica.Pace.
func (p *pace) May() bool {
	if p.rate == 0 {
		return true
	}
	now := p.clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes = min(p.burst, p.bytes+p.rate*(now-p.at).Seconds())
	p.at = now
	switch may := p.bytes > 0; {
	case may && p.dry:
		p.dry = false
		p.waited += now - p.since
	case !may && !p.dry:
		p.dry, p.since = true, now
		p.waits++
	}
	return p.bytes > 0
}

// Sent implements replica.Pace.
func (p *pace) Sent(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes -= float64(bytes)
	p.sent += uint64(bytes)
}

// CatchUp is what a node sent to replicas that lack what is no longer in memory.
type CatchUp struct {
	Bytes  uint64        // of snapshots and entries
	Waits  uint64        // times the limit stopped it
	Waited time.Duration // for how long, in all
}

// CatchUp gives what was sent since New. Any goroutine may call.
func (m *Manager) CatchUp() CatchUp {
	p := m.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	c := CatchUp{Bytes: p.sent, Waits: p.waits, Waited: p.waited}
	if p.dry {
		c.Waited += max(0, p.clock()-p.since)
	}
	return c
}
