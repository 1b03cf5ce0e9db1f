package multiraft

// mutant names guarantees that are switched off, to show that the simulation in
// engine/enginetest notices. Nothing outside tests can set one: see mutants_on.go.
type mutant uint32

const (
	mutEarlyPromote mutant = 1 << iota // a learner votes before it has caught up
)

func (m mutant) has(x mutant) bool { return m&x != 0 }
