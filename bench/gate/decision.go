package gate

// Verdict is what a decision comes to.
type Verdict string

const (
	Pass         Verdict = "PASS"         // every metric is bounded
	Fail         Verdict = "FAIL"         // a metric is worse, and a repetition agrees
	Inconclusive Verdict = "INCONCLUSIVE" // neither within the blocks of the rule
	Unmeasurable Verdict = "UNMEASURABLE" // the machine is not fit
	Continue     Verdict = "CONTINUE"     // no verdict yet, see Decision.Need
)

// Exit codes of a command that ends with a verdict.
const (
	ExitPass         = 0
	ExitFail         = 1
	ExitInconclusive = 2
	ExitUnmeasurable = 3
)

// Exit is the exit code of a verdict. A run that was stopped while it still had to
// continue has shown nothing: 2.
func (v Verdict) Exit() int {
	switch v {
	case Pass:
		return ExitPass
	case Fail:
		return ExitFail
	case Unmeasurable:
		return ExitUnmeasurable
	}
	return ExitInconclusive
}

// Need is what has to be measured before Judge can say more: so many blocks that
// count, null blocks among them, or so many of the confirmation.
type Need struct {
	Blocks  int `json:"blocks,omitempty"`
	Confirm int `json:"confirm,omitempty"`
}

// Finding is what one metric showed at the look that was decided on. Changes are
// fractions by which head is worse; negative is better. Before the first look only
// the null blocks are told: figures that cannot decide invite to stop early.
type Finding struct {
	Metric string  `json:"metric"`
	Change float64 `json:"change"` // Hodges and Lehmann's estimate
	Low    float64 `json:"low"`    // two-sided interval at pass_confidence
	High   float64 `json:"high"`
	Upper  float64 `json:"upper"` // one-sided bound at pass_confidence
	// P is the one-sided p-value of "worse", PBetter that of "better", each adjusted
	// for all metrics.
	P       float64 `json:"p"`
	PBetter float64 `json:"p_better"`
	// Sigma is the standard deviation of block values, in logarithms, and Detectable
	// the least change that such blocks show with 95 % power.
	Sigma      float64 `json:"sigma"`
	Detectable float64 `json:"detectable"`
	Bounded    bool    `json:"bounded"`             // Upper is below the bound of the metric
	Candidate  bool    `json:"candidate"`           // worse, by enough to fail if confirmed
	Confirmed  bool    `json:"confirmed,omitempty"` // a candidate that the confirmation bore out: it fails
	Improved   bool    `json:"improved"`            // better, by as much and as surely; not confirmed
	// ConfirmP and ConfirmChange are those of the confirmation; 0 if there is none
	// for this metric.
	ConfirmP      float64 `json:"confirm_p,omitempty"`
	ConfirmChange float64 `json:"confirm_change,omitempty"`
	// Nulls are the values of the null blocks, in logarithms, to be added to the
	// ledger; NullRange is where they had to lie, nil if the ledger is too short.
	Nulls     []float64   `json:"nulls,omitempty"`
	NullRange *[2]float64 `json:"null_range,omitempty"`
}

// DecisionVersion is the version of the written form.
const DecisionVersion = 1

// Decision is the outcome of Judge.
type Decision struct {
	Version int     `json:"version"`
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"` // one sentence
	Need    Need    `json:"need,omitzero"`
	Look    int     `json:"look,omitempty"` // compared blocks the findings stand on
	// FalsePass is the most that the chance of a PASS can be for a metric that is
	// worse by its bound.
	FalsePass float64   `json:"false_pass"`
	Redone    int       `json:"redone"` // blocks that did not count, the confirmation included
	Findings  []Finding `json:"findings"`
	Rule      Rule      `json:"rule"`
}
