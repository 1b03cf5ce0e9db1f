package kafka

// mutant names work that this front does for nothing, to show that the gate notices.
// Nothing outside tests, and programs built to be caught, can set one: see
// mutants_on.go.
type mutant uint32

const (
	mutSpinBatch  mutant = 1 << iota // CPU time for each batch that is produced
	mutSpinRecord                    // CPU time for each record of one
	mutDelay                         // one Produce in a hundred is held up, and what its connection sends after it
)

func (m mutant) has(x mutant) bool { return m&x != 0 }
