// Package replicatest holds what tests of replicas share: a state machine that
// checks how it is called, a waiter that checks that it is answered once, and
// the contract of replica.Log as a test.
package replicatest

import (
	"encoding/json"
	"fmt"
	"sync"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Machine is a state machine that keeps the data it applied. It panics when it
// is not called as replica.StateMachine says. Safe for concurrent looking.
type Machine struct {
	// Refuse, if set, is asked first by Stamp; Broken, if set, fails Apply.
	// Set them before the machine is used, or under Do.
	Refuse func(p *replica.Proposal) error
	Broken error
	// Seen, if set, is told of every entry applied.
	Seen func(e replica.Entry)

	mu      sync.Mutex // guards everything
	applied ids.LogIndex
	data    []string
	stamped []string // not yet applied, as leader
	term    ids.Term // leading
	calls   []string
}

// NewMachine makes an empty machine.
func NewMachine() *Machine { return &Machine{} }

// Do runs f while no method runs.
func (s *Machine) Do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Data is what was applied, in order, without Raft's own entries.
func (s *Machine) Data() (list []string) {
	s.Do(func() { list = append(list, s.data...) })
	return list
}

// Calls lists the calls of Lead, Follow and Unstamp.
func (s *Machine) Calls() (list []string) {
	s.Do(func() { list = append(list, s.calls...) })
	return list
}

// Stamped counts what is stamped and not applied.
func (s *Machine) Stamped() (n int) {
	s.Do(func() { n = len(s.stamped) })
	return n
}

// Restart gives the machine a restart finds that had a checkpoint at its
// applied index.
func (s *Machine) Restart() *Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Machine{Seen: s.Seen, applied: s.applied, data: append([]string(nil), s.data...)}
}

// Stamp implements replica.StateMachine.
func (s *Machine) Stamp(term ids.Term, _ int64, p *replica.Proposal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term == 0 || s.term != term {
		panic(fmt.Sprintf("BUG: stamp in term %d while leading %d", term, s.term))
	}
	if s.Refuse != nil {
		if err := s.Refuse(p); err != nil {
			return err
		}
	}
	s.stamped = append(s.stamped, string(p.Data))
	return nil
}

// Unstamp implements replica.StateMachine.
func (s *Machine) Unstamp(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamped = s.stamped[:len(s.stamped)-n]
	s.calls = append(s.calls, fmt.Sprint("unstamp ", n))
}

// Lead implements replica.StateMachine.
func (s *Machine) Lead(term ids.Term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term != 0 {
		panic(fmt.Sprintf("BUG: lead term %d while leading %d", term, s.term))
	}
	s.term = term
	s.calls = append(s.calls, fmt.Sprint("lead ", term))
}

// Follow implements replica.StateMachine.
func (s *Machine) Follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term, s.stamped = 0, nil
	s.calls = append(s.calls, "follow")
}

// Apply implements replica.StateMachine.
func (s *Machine) Apply(entries []replica.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Broken != nil {
		return s.Broken
	}
	for _, e := range entries {
		if e.Index != s.applied+1 {
			panic(fmt.Sprintf("BUG: apply %d after %d", e.Index, s.applied))
		}
		s.applied = e.Index
		if s.Seen != nil {
			s.Seen(e)
		}
		if len(e.Data) == 0 {
			continue
		}
		s.data = append(s.data, string(e.Data))
		if s.term != 0 {
			if len(s.stamped) == 0 || s.stamped[0] != string(e.Data) {
				panic(fmt.Sprintf("BUG: applied %q as leader, stamped %q", e.Data, s.stamped))
			}
			s.stamped = s.stamped[1:]
		}
	}
	return nil
}

// State gives the machine as bytes for Restore.
func (s *Machine) State() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(state{s.applied, s.data})
	if err != nil {
		panic(err)
	}
	return b
}

type state struct {
	Applied ids.LogIndex
	Data    []string
}

// Restore implements replica.StateMachine.
func (s *Machine) Restore(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return err
	}
	if s.term != 0 {
		panic("BUG: restore while leading")
	}
	s.applied, s.data = st.Applied, st.Data
	s.calls = append(s.calls, fmt.Sprint("restore ", st.Applied))
	return nil
}

// Applied implements replica.StateMachine.
func (s *Machine) Applied() ids.LogIndex {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

// Waiter is a replica.Waiter for one proposal. A second answer panics.
type Waiter struct {
	done chan struct{} // closed by the answer
	err  error         // valid after done
	p    *replica.Proposal
}

// NewWaiter makes one.
func NewWaiter() *Waiter { return &Waiter{done: make(chan struct{})} }

// Proposed implements replica.Waiter.
func (w *Waiter) Proposed(p *replica.Proposal, err error) {
	w.p, w.err = p, err
	close(w.done) // panics on a second answer
}

// Done is closed by the answer.
func (w *Waiter) Done() <-chan struct{} { return w.done }

// Answered says whether the answer is there.
func (w *Waiter) Answered() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Err waits for the answer.
func (w *Waiter) Err() error {
	<-w.done
	return w.err
}

// Index waits for the answer and gives the entry's place; 0 if it got none.
func (w *Waiter) Index() ids.LogIndex {
	<-w.done
	return w.p.Index
}
