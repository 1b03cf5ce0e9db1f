package partition

import "bytes"

// mutant names guarantees that are switched off, to show that the simulation in
// engine/enginetest, or the gate, notices. Nothing outside tests can set one: see mutants_on.go.
type mutant uint32

const (
	mutKeepProducers mutant = 1 << iota // what producers had stamped is remembered after it was rolled back
	mutEmptyRestore                     // a snapshot is taken without its state

	// What only costs: the exact counters of the gate must notice.
	mutAllocate  // one more allocation for each batch that is stamped
	mutLeak      // a batch that was stamped is kept
	mutCopyReads // what is read is copied, so many times
)

// copied is a copy of a copy.
func copied(b []byte) []byte {
	for range max(1, forcedCopies()) {
		b = bytes.Clone(b)
	}
	return b
}

func (m mutant) has(x mutant) bool { return m&x != 0 }
