package metadata

import (
	"context"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Result is what a record that was applied gave back.
type Result struct {
	Index         ids.LogIndex   // a State that has applied it shows the outcome
	FirstProducer ids.ProducerID // AllocateProducerIDs: the first of the block
}

// Pending is a record on its way through the log. It is its proposal's waiter.
type Pending struct {
	replica.Proposal // hand &Proposal to the group, once

	id     RequestID
	state  *State
	done   chan struct{} // closed by Proposed; result and err are set before
	result Result
	err    error
}

// Prepare encodes a record for proposing. atMS is the wall clock in
// milliseconds. Any goroutine may call it. Repeat an attempt whose outcome is
// unknown with the same id and record. Errors are those of the record's form:
// ErrInvalidTopic, ErrInvalidCount, ErrInvalidReplicas, ErrInvalidConfig,
// ErrInvalidRecord, ErrTooLarge.
func (s *State) Prepare(id RequestID, atMS int64, r Record) (*Pending, error) {
	if err := checkForm(r); err != nil {
		return nil, err
	}
	b, err := Encode(id, atMS, r)
	if err != nil {
		return nil, err
	}
	return s.pending(id, b), nil
}

// PrepareEncoded is Prepare for a record that another node has encoded. It keeps
// b. ErrInvalidRecord where b is none.
func (s *State) PrepareEncoded(b []byte) (*Pending, error) {
	id, _, _, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	return s.pending(id, b), nil
}

func (s *State) pending(id RequestID, b []byte) *Pending {
	p := &Pending{id: id, state: s, done: make(chan struct{})}
	p.Proposal = replica.Proposal{Data: b, Wait: replica.WaitCommit, Waiter: p}
	return p
}

// Proposed implements replica.Waiter: called once, on the worker.
func (p *Pending) Proposed(q *replica.Proposal, err error) {
	p.result, p.err = p.outcome(err)
	p.result.Index = q.Index
	close(p.done)
}

func (p *Pending) outcome(err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	m, ok := p.state.recall(p.id)
	if !ok {
		return Result{}, fmt.Errorf("%w: request %s", ErrForgotten, p.id)
	}
	if err := m.Code.Err(); err != nil && m.detail != "" {
		return Result{}, fmt.Errorf("%w: %s", err, m.detail)
	} else if err != nil {
		return Result{}, err
	}
	return Result{FirstProducer: m.First}, nil
}

// Done is closed once the outcome is known.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait blocks until the record is applied and gives its outcome, or until ctx
// ends: then the outcome is open. The error is one that apply answers with (see
// errors.go) or the group's.
func (p *Pending) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("wait for metadata request %s: %w", p.id, context.Cause(ctx))
	}
}
