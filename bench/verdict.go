package bench

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"

	"dyno/bench/record"
)

// conclude judges all goals of an experiment.
func conclude(run *record.Run, goals []Goal) record.Verdict {
	v := record.Verdict{Result: record.OK}
	count := map[string]int{}
	for _, g := range goals {
		t := settle(run, g)
		count[t.Result]++
		v.Targets = append(v.Targets, t)
	}
	v.Text = fmt.Sprintf("%d of %d targets met, %d missed, %d unclear", count[record.OK], len(goals), count[record.Failed],
		count[record.Unclear]+count[record.Invalid])
	switch {
	case len(goals) == 0:
		v.Text = "no target"
		if slices.ContainsFunc(run.Arms, func(arm record.Arm) bool { return !mostlyGood(&arm) }) {
			v.Result = record.Unclear
		}
	case count[record.Failed] > 0:
		v.Result = record.Failed
	case count[record.OK] < len(goals):
		v.Result = record.Unclear
	}
	for _, arm := range run.Arms {
		for _, rep := range arm.Repetitions {
			if rep.Status == record.Invalid {
				v.Text += fmt.Sprintf("; invalid: %s, repetition %d: %s", arm.Name, rep.Number, rep.Problem)
			}
			if rep.Status == record.Failed {
				v.Result = record.Failed
				v.Text = fmt.Sprintf("%s, repetition %d: %s; %s", arm.Name, rep.Number, rep.Problem, v.Text)
			}
		}
	}
	return v
}

// good is how many repetitions of an arm count.
func good(arm *record.Arm) (n int) {
	for _, rep := range arm.Repetitions {
		if rep.Status == record.OK {
			n++
		}
	}
	return n
}

// mostlyGood says whether the majority of an arm's repetitions count.
func mostlyGood(arm *record.Arm) bool { return 2*good(arm) > len(arm.Repetitions) }

// repetitionsWord is how many repetitions an arm's figures rest on, of how many where
// not all of them count.
func repetitionsWord(arm *record.Arm) string {
	n, of := good(arm), len(arm.Repetitions)
	if n == of {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d/%d", n, of)
}

// publish writes the result, prints it and removes the ledger.
func (x *experiment) publish(cfg ExperimentConfig) (_ *record.Run, err error) {
	run := &record.Run{Kind: record.KindExperiment, Question: x.Question, Expectation: x.Expectation, Config: x.Config, Units: x.Units}
	seeds := map[uint64]bool{}
	for _, c := range x.Cells {
		arm := record.Arm{Name: c.Arm, Params: c.Params, Repetitions: x.ledger.arms[c.Arm]}
		sort.Slice(arm.Repetitions, func(i, j int) bool { return arm.Repetitions[i].Number < arm.Repetitions[j].Number })
		for _, rep := range arm.Repetitions {
			if !seeds[rep.Seed] {
				seeds[rep.Seed] = true
				run.Seeds = append(run.Seeds, rep.Seed)
			}
		}
		if phases := x.ledger.phases[c.Arm]; len(phases) > 0 {
			arm.Observed = map[string]string{observedPhase: strings.Join(phases, ",")}
		}
		run.Arms = append(run.Arms, arm)
	}
	if x.Derive != nil {
		x.Derive(run)
	}
	run.Verdict = conclude(run, x.Targets)
	if x.Answer != nil {
		text, factors := x.Answer(run)
		run.Verdict.Text, run.Verdict.Factors = join(text, run.Verdict.Text), factors
	}
	run.Verdict.Fits = fits(run)
	if x.ledger.resumed > 0 {
		x.lab.cautionLast(fmt.Sprintf("%d repetitions come from an interrupted invocation on the same machine and commit", x.ledger.resumed))
	}
	x.lab.finish(run)
	name := x.Name
	if len(cfg.Only) > 0 {
		name += "-part"
	}
	if cfg.Quick {
		name += "-quick"
		run.Notes = append(run.Notes, "a quick run: sizes and repetitions are too few to conclude anything")
	}
	dir, report, err := x.lab.seal(run, name, nothingBeside)
	if err != nil {
		return nil, err
	}
	if err := x.ledger.done(); err != nil {
		return run, err
	}
	x.lab.progress.clear()
	if err := writeExperiment(x.lab.opt.Out, run, x.Columns); err != nil {
		return run, err
	}
	fmt.Fprintf(x.lab.opt.Out, "\nresult: %s\nreport: %s\n", dir.Path(), report)
	return run, x.violated(run)
}

// violated makes an error of a log that did not keep what it took.
func (x *experiment) violated(run *record.Run) error {
	for _, arm := range run.Arms {
		for _, rep := range arm.Repetitions {
			if rep.Status == record.Failed {
				return fmt.Errorf("%w: %s, repetition %d: %s", ErrViolation, arm.Name, rep.Number, rep.Problem)
			}
		}
	}
	return nil
}

// writeExperiment prints question, expectation, arms and verdict for people. A
// column that no arm has a value of is left out.
func writeExperiment(w io.Writer, run *record.Run, columns []column) error {
	fmt.Fprintf(w, "\n%s\nquestion: %s\nexpected: %s\n\n", run.ID, run.Question, run.Expectation)
	columns = slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return !slices.ContainsFunc(run.Arms, func(arm record.Arm) bool { return c.middle(&arm) != "-" })
	})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "arm\tn\t")
	for _, c := range columns {
		fmt.Fprintf(t, "%s\t", c.label)
	}
	fmt.Fprintln(t)
	for i := range run.Arms {
		arm := &run.Arms[i]
		fmt.Fprintf(t, "%s\t%s\t", arm.Name, repetitionsWord(arm))
		for _, c := range columns {
			fmt.Fprintf(t, "%s\t", c.middle(arm))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nmedians; an interval is that of order statistics over repetitions, for a ratio over those run next to each other\n")
	for _, g := range run.Verdict.Targets {
		t := textOf(run, &g)
		fmt.Fprintf(w, "%-8s %s: %s, %s, wanted %s\n", strings.ToUpper(g.Result), g.Name, t.found, t.span, t.want)
	}
	for _, f := range run.Verdict.Factors {
		fmt.Fprintf(w, "factor   %s: %s\n", f.Name, factorText(&f))
	}
	writeFits(w, run.Verdict.Fits)
	for _, note := range run.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	_, err := fmt.Fprintf(w, "%s\n", verdictLine(run))
	return err
}
