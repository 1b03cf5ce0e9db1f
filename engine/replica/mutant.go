package replica

// mutant names guarantees that are switched off, to show that the simulation in
// engine/enginetest, or the gate, notices. Nothing outside tests can set one: see mutants_on.go.
type mutant uint32

const (
	mutEarlyAck     mutant = 1 << iota // WaitCommit is answered when this log alone has the entry
	mutNoVote                          // the vote is not part of the append
	mutIndexOnly                       // waiters outlive the term they were bound in
	mutReuseRead                       // all ReadIndex attempts have the same context
	mutEarlyLead                       // Lead comes with the election, before the term's first entry is applied
	mutSnapHigh                        // a snapshot says that it is of the entry after its own
	mutLearnerVotes                    // a learner is a voter from the start
	mutQuietLag                        // a group goes quiet while a member lacks entries
	mutCopiesSent                      // a copy counts when it is sent
	mutFewCopies                       // the commit is answered, whatever copies were asked for
	mutUntold                          // a removed member keeps what it knows to itself
	mutLongLease                       // a lease outlasts the promises it rests on
	mutLeaseKept                       // a leader that offers its leadership keeps its lease
	mutNoPromise                       // voters forget what they promised at once

	// What only costs: the exact counters of the gate must notice.
	mutOneByOne  // each proposal is a message of its own
	mutMoreState // the hard state is written again and again: 3 % more bytes of each entry
)

func (m mutant) has(x mutant) bool { return m&x != 0 }
