package loadgen

import "dyno/bench/stats"

// Steady is the verdict on the stability of a timed window.
type Steady struct {
	Checked    bool `json:"checked"`     // false where the window is too short to tell
	Stable     bool `json:"stable"`      // the transient ends before the middle of the window
	TransientS int  `json:"transient_s"` // seconds at the start that do not belong to the steady state
}

const (
	steadyBatch   = 5  // MSER-5: means of five 1 s intervals
	steadyAtLeast = 10 // intervals; below 50 they are taken one by one, for five per batch would leave too few batches
)

// steadyState applies MSER-5 to a series of 1 s intervals, below 50 of them one by one; a
// cut in the second half says that the run never settled.
func steadyState(perSecond []float64) Steady {
	if len(perSecond) < steadyAtLeast {
		return Steady{}
	}
	size := steadyBatch
	if len(perSecond) < steadyBatch*steadyAtLeast {
		size = 1
	}
	cut, stable := stats.MSER(perSecond, size)
	return Steady{Checked: true, Stable: stable, TransientS: cut}
}
