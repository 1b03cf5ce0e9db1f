package variants

import (
	"sync"
	"time"

	"dyno/engine/replica"
)

// gather holds the proposals of one partition until there are enough of them or the
// first has waited long enough. It is bounded by what the front lets clients have
// under way.
type gather struct {
	most int // proposals that end a batch; 0: the time alone
	to   Group

	mu     sync.Mutex // guards what follows
	list   []*replica.Proposal
	timer  *time.Timer
	closed bool

	byTime, byNumber uint64 // batches, by what ended them
}

func newGather(kind Batch, to Group) *gather {
	switch kind {
	case BatchTimer:
		return &gather{to: to, most: TimerEntries}
	case BatchWindow:
		return &gather{to: to}
	}
	return nil
}

// add takes p, or refuses it once the gather is closed.
func (g *gather) add(p *replica.Proposal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return replica.ErrStopped
	}
	g.list = append(g.list, p)
	switch {
	case len(g.list) == g.most:
		g.byNumber++
		g.timer.Stop()
		g.flush()
	case len(g.list) > 1:
	case g.timer == nil:
		g.timer = time.AfterFunc(WindowWait, g.late)
	default:
		g.timer.Reset(WindowWait)
	}
	return nil
}

// late ends a batch whose time is over. A timer that fired while its batch was ended
// by number may end the next one early: never late, and seldom.
func (g *gather) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.list) > 0 {
		g.byTime++
		g.flush()
	}
}

// flush hands the list over under the lock, so that batches keep their order; it
// puts a list into a mailbox, which does not block.
func (g *gather) flush() {
	g.to.ProposeAll(g.list)
	clear(g.list)
	g.list = g.list[:0]
}

// close hands over what is there and refuses what comes.
func (g *gather) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
	if len(g.list) > 0 {
		g.flush()
	}
}

func (g *gather) counts() (byTime, byNumber uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byTime, g.byNumber
}
