package enginetest

import (
	"errors"
	"sync"
	"sync/atomic"

	"dyno/engine/multiraft"
	"dyno/wal"
	"dyno/wal/vfs"
)

// errDown is what a node that lost its power or was killed answers.
var errDown = errors.New("the node is down")

// power is what one life of a node does with its disk: once off, every change
// fails, and while it hangs no sync ends.
type power struct {
	mu   sync.Mutex
	off  bool
	hang chan struct{} // closed by release; nil: syncs go through
}

// plan implements vfs.Plan.
func (p *power) plan(c vfs.Call) vfs.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch c.Op {
	case vfs.OpOpen, vfs.OpList, vfs.OpStat, vfs.OpLock, vfs.OpFree, vfs.OpRead:
		return vfs.Fault{}
	}
	switch {
	case p.off:
		return vfs.Fault{Err: vfs.ErrPowerCut}
	case c.Op == vfs.OpDatasync && p.hang != nil:
		return vfs.Fault{Wait: p.hang}
	}
	return vfs.Fault{}
}

func (p *power) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hang = make(chan struct{})
}

// cut fails every change from now on. A sync that hangs goes on hanging.
func (p *power) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
}

func (p *power) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hang != nil {
		close(p.hang)
		p.hang = nil
	}
}

// heldLog is the log as a manager sees it: appends wait here until they are
// passed on, one at a time and in order. Everything else is the log's.
type heldLog struct {
	*wal.Log
	c *Cluster

	mu   sync.Mutex
	held []*wal.Append
	dead error // every append fails with it
	full atomic.Bool
}

var _ multiraft.Log = (*heldLog)(nil)

// Full implements multiraft.Log with what was so when everything stood still last:
// the log learns of a full disk on a goroutine of its own, beside the worker that
// asks, and a simulation must not depend on who is first.
func (s *heldLog) Full() bool { return s.full.Load() }

// look notes whether the log is full; nothing moves.
func (s *heldLog) look() { s.full.Store(s.Log.Full()) }

// Submit implements multiraft.Log.
func (s *heldLog) Submit(a *wal.Append) error {
	s.c.submitted(a.Records)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return s.dead
	}
	s.held = append(s.held, a)
	return nil
}

// waiting counts the appends that are not passed on.
func (s *heldLog) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// next takes the oldest append, nil if there is none.
func (s *heldLog) next() *wal.Append {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		return nil
	}
	a := s.held[0]
	s.held = s.held[1:]
	return a
}

// pass hands a to the log, which ends it on a goroutine of its own.
func (s *heldLog) pass(a *wal.Append) {
	if err := s.Log.Submit(a); err != nil {
		a.Done(err)
	}
}

// refuse fails everything from now on.
func (s *heldLog) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = err
}

// drop fails what is held; refuse comes first.
func (s *heldLog) drop() {
	for a := s.next(); a != nil; a = s.next() {
		a.Done(s.dead)
	}
}

// holds says whether the node has the entry durably: in the log, or cut from it,
// which happens only when the files have it or a snapshot stands for it.
func (s *heldLog) holds(stream, index, term uint64) bool {
	got, err := s.Term(stream, index)
	return err == nil && got == term || errors.Is(err, wal.ErrCompacted)
}
