package gate

import "errors"

var (
	// ErrRule is a rule that cannot decide: too few blocks for its error rates, or
	// limits that contradict each other.
	ErrRule = errors.New("rule cannot decide")
	// ErrEvidence is evidence that a sound harness does not produce: an order that
	// the coin did not give, a run of the wrong commit, a value that is missing, a
	// block that is missing or there twice. Nothing is judged then.
	ErrEvidence = errors.New("evidence is not sound")
)
