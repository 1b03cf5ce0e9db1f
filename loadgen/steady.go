package loadgen

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

// steadyState applies MSER-5 (White, Cobb and Spratt 2000) to a series of 1 s intervals: of all cuts it takes the one that makes
// the standard error of the mean of the rest smallest; a cut in the second half says that the run never settled.
func steadyState(perSecond []float64) Steady {
	if len(perSecond) < steadyAtLeast {
		return Steady{}
	}
	size := steadyBatch
	if len(perSecond) < steadyBatch*steadyAtLeast {
		size = 1
	}
	var batches []float64
	for i := 0; i+size <= len(perSecond); i += size {
		sum := 0.0
		for _, v := range perSecond[i : i+size] {
			sum += v
		}
		batches = append(batches, sum/float64(size))
	}
	cut := mserCut(batches)
	return Steady{Checked: true, Stable: 2*cut <= len(batches), TransientS: cut * size}
}

// mserCut is the number of leading batches whose removal minimises sum((x-mean)²)/n². The last five batches are never a
// candidate's whole rest: the statistic is erratic on a handful.
func mserCut(x []float64) int {
	const restMin = 5
	best, cut := 0.0, 0
	var sum, squares float64
	for d := len(x) - 1; d >= 0; d-- {
		sum += x[d]
		squares += x[d] * x[d]
		n := float64(len(x) - d)
		if len(x)-d < restMin {
			continue
		}
		if stat := (squares - sum*sum/n) / (n * n); cut == 0 && d == len(x)-restMin || stat <= best {
			best, cut = stat, d
		}
	}
	return cut
}
