package metadata

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// RememberedMax is how many of the last request ids are known to be applied.
const RememberedMax = 4096

// memory is one applied request and what it was answered.
type memory struct {
	ID     RequestID      `json:"id"`
	Code   Code           `json:"code,omitempty"`
	First  ids.ProducerID `json:"first,omitempty"`
	detail string         // see outcome.detail; lost in a snapshot
}

// Config is what a State tells whom.
type Config struct {
	// OnChange hears every applied change, in order and after Image shows it,
	// once for each run of applied entries. It is called on the group's worker
	// goroutine and must not block. During a replay it hears the whole history,
	// deletions too. nil: nobody.
	OnChange func(*Image, []Change)
}

// State is the metadata state machine of one node; it implements
// replica.StateMachine. Image, Applied, Await and Prepare are for any goroutine, all
// else is for the group's worker alone.
type State struct {
	onChange func(*Image, []Change)
	image    atomic.Pointer[Image]

	// owner: worker
	ring   [RememberedMax]memory // ring[n%RememberedMax] is the n-th request applied
	count  uint64                // requests remembered so far; those below count-RememberedMax are pushed out
	byID   map[RequestID]uint64  // request id -> n, of what the ring holds
	counts Counts

	mu      sync.Mutex // guards waiters
	waiters []waiter
}

// waiter waits for an index to be applied.
type waiter struct {
	index ids.LogIndex
	done  chan struct{} // closed by publish
}

// Counts say what a State did since it was made.
type Counts struct {
	Applied  uint64 // records that changed something or were found in order
	Refused  uint64 // records answered with an error
	Repeated uint64 // records that had been applied before
}

var _ replica.StateMachine = (*State)(nil)

// New makes an empty State, as it is before the first entry.
func New(c Config) *State {
	s := &State{onChange: c.OnChange, byID: make(map[RequestID]uint64)}
	s.image.Store(emptyImage())
	return s
}

// Image is the newest applied picture.
func (s *State) Image() *Image { return s.image.Load() }

// Applied is the index of the last entry applied.
func (s *State) Applied() ids.LogIndex { return s.Image().Index }

// publish makes m the newest picture.
func (s *State) publish(m *Image) {
	s.image.Store(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = slices.DeleteFunc(s.waiters, func(w waiter) bool {
		if w.index > m.Index {
			return false
		}
		close(w.done)
		return true
	})
}

// Await blocks until the entry at index is applied here, or ctx ends.
func (s *State) Await(ctx context.Context, index ids.LogIndex) error {
	w := waiter{index, make(chan struct{})}
	s.mu.Lock()
	if s.Applied() >= index { // under mu: a publish that comes later sees the waiter
		s.mu.Unlock()
		return nil
	}
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiters = slices.DeleteFunc(s.waiters, func(o waiter) bool { return o.done == w.done })
		return fmt.Errorf("wait for metadata entry %d: %w", index, context.Cause(ctx))
	}
}

// Counts gives the counters; worker only.
func (s *State) Counts() Counts { return s.counts }

// Stamp keeps records of bad form out of the log. It changes nothing in p:
// state is judged by Apply, so nothing stamped needs to be tracked.
func (s *State) Stamp(_ ids.Term, _ int64, p *replica.Proposal) error {
	_, _, r, err := Decode(p.Data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	return checkForm(r)
}

// Unstamp has nothing to take back, see Stamp.
func (s *State) Unstamp(int) {}

// Lead has nothing to prepare: apply is the same on every replica.
func (s *State) Lead(ids.Term) {}

// Follow has nothing to roll back, see Stamp.
func (s *State) Follow() {}

// Apply applies entries and publishes one new image for all of them. It fails,
// and the group stops, on an entry that cannot be read (ErrNewer, ErrCorrupt):
// skipping it would part this replica from the others. What was applied before
// that entry is published.
func (s *State) Apply(entries []replica.Entry) error {
	d := newDraft(s.Image())
	err := s.applyAll(d, entries)
	s.publish(d.Image)
	if len(d.changes) > 0 && s.onChange != nil {
		s.onChange(d.Image, d.changes)
	}
	return err
}

func (s *State) applyAll(d *draft, entries []replica.Entry) error {
	for _, e := range entries {
		if e.Index != d.Index+1 {
			panic(fmt.Sprintf("BUG: metadata entry %d applied after %d", e.Index, d.Index))
		}
		if len(e.Data) > 0 {
			id, atMS, r, err := Decode(e.Data)
			if err != nil {
				return fmt.Errorf("apply metadata entry %d: %w", e.Index, err)
			}
			d.Index = e.Index
			s.applyOne(d, id, atMS, r)
		}
		d.Index = e.Index
	}
	return nil
}

func (s *State) applyOne(d *draft, id RequestID, atMS int64, r Record) {
	if _, done := s.byID[id]; done {
		s.counts.Repeated++
		return
	}
	out := refuse(ErrNoCluster, "%s", r.kind())
	if _, first := r.(*ClusterCreated); first || d.Cluster.ID != "" {
		out = r.apply(d, atMS)
	}
	if out.code == 0 {
		s.counts.Applied++
	} else {
		s.counts.Refused++
	}
	s.remember(memory{ID: id, Code: out.code, First: out.first, detail: out.detail})
}

// remember puts m in the place of the oldest.
func (s *State) remember(m memory) {
	slot := &s.ring[s.count%RememberedMax]
	if s.count >= RememberedMax {
		delete(s.byID, slot.ID)
	}
	*slot = m
	s.byID[m.ID] = s.count
	s.count++
}

// recall gives the outcome of a request, false if it is not remembered.
func (s *State) recall(id RequestID) (memory, bool) {
	n, ok := s.byID[id]
	if !ok {
		return memory{}, false
	}
	return s.ring[n%RememberedMax], true
}

// Snapshot gives the whole state after Applied as bytes; equal states give
// equal bytes. Worker only.
func (s *State) Snapshot() ([]byte, error) {
	var kept []memory
	for n := s.count - min(s.count, RememberedMax); n < s.count; n++ {
		kept = append(kept, s.ring[n%RememberedMax])
	}
	return s.Image().encode(kept)
}

// Restore replaces the whole state with a snapshot and tells OnChange one
// ImageRestored. It does not retain b. ErrNewer and ErrCorrupt leave the state
// as it was. Worker only, or before the group starts.
func (s *State) Restore(b []byte) error {
	m, kept, err := decodeImage(b)
	if err != nil {
		return err
	}
	s.count, s.byID = 0, make(map[RequestID]uint64, len(kept))
	for _, k := range kept {
		s.remember(k)
	}
	s.publish(m)
	if s.onChange != nil {
		s.onChange(m, []Change{{Kind: ImageRestored, Index: m.Index}})
	}
	return nil
}
