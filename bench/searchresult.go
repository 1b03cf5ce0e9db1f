package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"dyno/bench/maxrate"
	"dyno/bench/record"
)

// maxrateSchema names the object that MaxrateConfig.JSON prints.
const maxrateSchema = "dyno.maxrate/1"

// maxrateReport is that object. Rates are records/s, times ns.
type maxrateReport struct {
	Schema    string          `json:"schema"`
	SLO       string          `json:"slo"`
	Low       float64         `json:"rate_low"`  // largest rate that held; 0: none did
	High      float64         `json:"rate_high"` // smallest rate that failed; 0: none did
	Confirmed bool            `json:"confirmed"` // by the longer trial at rate_low
	Verdict   string          `json:"verdict"`   // ok, failed or invalid
	Text      string          `json:"text"`
	Seed      uint64          `json:"seed"`
	Result    string          `json:"result"` // directory
	Trials    []maxrateLine   `json:"trials"`
	Config    map[string]any  `json:"config"`
	Spent     maxrateDuration `json:"spent"`
}

type maxrateDuration struct {
	Seconds float64 `json:"s"`
	Trials  int     `json:"trials"`
}

// maxrateLine is one trial.
type maxrateLine struct {
	Order    int           `json:"order"`
	Phase    maxrate.Phase `json:"phase"`
	Offered  float64       `json:"offered"`
	Achieved float64       `json:"achieved"`
	P50      float64       `json:"p50"`
	P99      float64       `json:"p99"`
	P999     float64       `json:"p999"`
	Held     bool          `json:"held"`
	Why      string        `json:"why,omitempty"`
}

func (s *search) lines() []maxrateLine {
	out := make([]maxrateLine, len(s.trials))
	for i, t := range s.trials {
		v := t.rep.Values
		out[i] = maxrateLine{Order: t.rep.Order, Phase: t.Phase, Offered: t.Rate, Achieved: v["throughput"], P50: v["response_p50"],
			P99: v["response_p99"], P999: v["response_p999"], Held: t.good, Why: t.why}
		if t.rep.Problem != "" {
			out[i].Why = t.rep.Problem
		}
	}
	return out
}

// publish writes the result, prints it and removes the ledger.
func (s *search) publish(config map[string]any) (*record.Run, error) {
	run := &record.Run{Kind: record.KindExperiment, Question: searchQuestion, Expectation: searchExpected, Config: config,
		Units: slices.Concat(loadUnits, trialUnits), Arms: s.arms()}
	for _, t := range s.trials {
		run.Seeds = append(run.Seeds, t.rep.Seed)
	}
	run.Verdict = s.verdict()
	if s.ledger.resumed > 0 {
		s.lab.cautionLast(fmt.Sprintf("%d trials come from an interrupted search on the same machine and commit", s.ledger.resumed))
	}
	s.lab.finish(run)
	dir, report, err := s.lab.seal(run, searchName, nothingBeside)
	if err != nil {
		return nil, err
	}
	if err := s.ledger.done(); err != nil {
		return run, err
	}
	s.lab.progress.clear()
	if s.cfg.JSON {
		err = json.NewEncoder(s.lab.opt.Out).Encode(s.report(run, dir.Path()))
	} else {
		if err = s.table(s.lab.opt.Out, run); err == nil {
			_, err = fmt.Fprintf(s.lab.opt.Out, "\nresult: %s\nreport: %s\n", dir.Path(), report)
		}
	}
	if err != nil {
		return run, err
	}
	return run, verdictError(run)
}

// arms gathers the trials of one purpose and rate, rates ascending.
func (s *search) arms() []record.Arm {
	var arms []record.Arm
	sorted := slices.Clone(s.trials)
	slices.SortStableFunc(sorted, func(a, b rateTrial) int {
		return cmpChain(phaseOrder(a.Phase)-phaseOrder(b.Phase), a.Rate, b.Rate)
	})
	for _, t := range sorted {
		if len(arms) == 0 || arms[len(arms)-1].Name != t.arm() {
			arms = append(arms, record.Arm{Name: t.arm(), Params: map[string]string{paramBlock: string(t.Phase), "rate": rateWord(t.Rate)}})
		}
		arm := &arms[len(arms)-1]
		arm.Repetitions = append(arm.Repetitions, t.rep)
	}
	return arms
}

func phaseOrder(p maxrate.Phase) int {
	return slices.Index([]maxrate.Phase{maxrate.Search, maxrate.Measure, maxrate.Confirm}, p)
}

func cmpChain(first int, a, b float64) int {
	switch {
	case first != 0:
		return first
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// verdict puts the answer into words. A broken promise outranks it; a rate that the
// longer trial did not confirm, or an end that is the generator's own, is none.
func (s *rateSearch) verdict() record.Verdict {
	a := s.plan.Answer()
	slo := sloText(s.slo)
	if n := len(s.trials); n > 0 && s.trials[n-1].rep.Status == record.Failed {
		last := s.trials[n-1]
		return record.Verdict{Result: record.Failed, Text: fmt.Sprintf("at %s records/s: %s", rateWord(last.Rate), last.rep.Problem)}
	}
	text := fmt.Sprintf("%s holds at %s records/s", slo, rateWord(a.Low))
	switch {
	case a.Low == 0:
		return record.Verdict{Result: record.Invalid, Text: fmt.Sprintf("%s held at no rate that was measured: %s", slo, a.Why)}
	case !a.Confirmed:
		return record.Verdict{Result: record.Invalid, Text: text + ", which no longer trial confirmed: " + a.Why}
	case a.High > 0 && s.limited(a.High):
		return record.Verdict{Result: record.Invalid, Text: text + fmt.Sprintf(", and at %s the generator is the bottleneck: the cluster may hold more", rateWord(a.High))}
	case a.High > 0:
		text += fmt.Sprintf(" and fails at %s; a longer trial confirmed the lower end", rateWord(a.High))
	}
	if a.Why != "" {
		text += "; " + a.Why
	}
	return record.Verdict{Result: record.OK, Text: text}
}

func (s *search) report(run *record.Run, dir string) *maxrateReport {
	a := s.plan.Answer()
	return &maxrateReport{Schema: maxrateSchema, SLO: sloText(s.slo), Low: a.Low, High: a.High, Confirmed: a.Confirmed, Verdict: run.Verdict.Result,
		Text: run.Verdict.Text, Seed: s.cfg.Search.Seed, Result: dir, Trials: s.lines(), Config: run.Config,
		Spent: maxrateDuration{run.Seconds, len(s.trials)}}
}

// table prints every trial in its order, and then the answer.
func (s *search) table(w io.Writer, run *record.Run) error {
	fmt.Fprintf(w, "\n%s\nSLO %s, seed %d, trials of %v\n\n", run.ID, sloText(s.slo), s.cfg.Search.Seed, s.cfg.Trial)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "trial\tphase\toffered\tachieved\tp50 ms\tp99 ms\tp99.9 ms\t")
	for _, l := range s.lines() {
		word := "held"
		if !l.Held {
			word = "failed: " + l.Why
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t  %s\n", l.Order, l.Phase, rateWord(l.Offered), l.Achieved, l.P50/1e6, l.P99/1e6, l.P999/1e6, word)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range run.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	a := s.plan.Answer()
	fmt.Fprintf(w, "\nlargest rate that held, records/s: %s; smallest that failed: %s\n", orNone(a.Low), orNone(a.High))
	_, err := fmt.Fprintln(w, verdictLine(run))
	return err
}

func orNone(rate float64) string {
	if rate == 0 {
		return "none"
	}
	return rateWord(rate)
}
