package replica

// mutant names guarantees that are switched off, to show that the simulation in
// engine/enginetest notices. Nothing outside tests can set one: see mutants_on.go.
type mutant uint32

const (
	mutEarlyAck  mutant = 1 << iota // WaitCommit is answered when this log alone has the entry
	mutNoVote                       // the vote is not part of the append
	mutIndexOnly                    // waiters outlive the term they were bound in
	mutReuseRead                    // all ReadIndex attempts have the same context
	mutEarlyLead                    // Lead comes with the election, before the term's first entry is applied
)

func (m mutant) has(x mutant) bool { return m&x != 0 }
