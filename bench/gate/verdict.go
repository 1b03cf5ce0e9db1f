// Package gate decides whether a commit does worse than another one, or than what
// was written down, and says so to people and machines. It is a function: no clock,
// no goroutine, nothing is run. Lane x compares exact counters of a replay
// (bench/replay), see xlane.go; what is written is the same for every lane, see
// report.go.
package gate

// Verdict is what a decision comes to.
type Verdict string

const (
	Pass         Verdict = "PASS"
	Fail         Verdict = "FAIL"
	Inconclusive Verdict = "INCONCLUSIVE"
	Unmeasurable Verdict = "UNMEASURABLE"
)

// Exit is the exit code of a verdict: 0, 1, 2, 3.
func (v Verdict) Exit() int {
	switch v {
	case Pass:
		return 0
	case Fail:
		return 1
	case Unmeasurable:
		return 3
	}
	return 2
}
