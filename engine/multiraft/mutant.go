package multiraft

// mutant names guarantees that are switched off, to show that the simulation in
// engine/enginetest, or the gate, notices. Nothing outside tests can set one: see mutants_on.go.
type mutant uint32

const (
	mutEarlyPromote mutant = 1 << iota // a learner votes before it has caught up

	// What only waits: the times of the gate must notice.
	mutLinger // proposals wait for more of them before they become a batch
)

func (m mutant) has(x mutant) bool { return m&x != 0 }
