package wal

// mutant names guarantees that are switched off, to show that the crash tests
// and the gate notice. Nothing outside tests can set one: see mutants_on.go.
type mutant uint32

const (
	mutNoSync    mutant = 1 << iota // the flusher does not fdatasync
	mutNoPromise                    // recovery takes every damage for a tear
	mutNoDirSync                    // a segment's name is not made durable
	mutNoSeq                        // a record of an older use of the file counts

	// What only costs: the exact counters of the gate must notice.
	mutTwoSyncs  // each fdatasync is made twice
	mutTwoWrites // a frame is written in two pieces, unless it went ahead

	// What only waits: the times of the gate must notice.
	mutLockedSync // nothing can be submitted during a sync
)

func (m mutant) has(x mutant) bool { return m&x != 0 }
