package paired

import "errors"

var (
	// ErrHarness means that the ledger does not show what the plan and its coins
	// demand: the comparison itself is wrong, whatever it says.
	ErrHarness = errors.New("the comparison broke its own rules")
	// ErrOther means that a ledger belongs to another comparison, machine or seed.
	ErrOther = errors.New("the ledger belongs to another comparison")
	// ErrViolation means that the base program broke a promise, so nothing can be
	// compared with it.
	ErrViolation = errors.New("base broke a promise")
)
