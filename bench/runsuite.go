package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"dyno/bench/record"
)

const (
	suiteName        = "produce"
	suiteQuestion    = "How fast does this broker take records that must be durable, and how long does a record wait at half of that rate?"
	suiteExpectation = "Every acknowledged record is read back once and in order. On two cores shared with the client, one broker: " +
		"around 300,000 records/s of 1 KiB, and a p99 response of at most 5 ms at half of the maximum."
)

// RunSuite measures the suite `produce`, writes a result directory and prints
// the table. It blocks until everything it started has ended, also when ctx is
// cancelled; nothing is left behind then. One lab runs per machine. The run is
// returned also when it is not good. Errors: ErrUsage, ErrBusy, ErrNoSpace,
// ErrStart, ErrViolation, ErrInvalid.
func RunSuite(ctx context.Context, opt Options, cfg SuiteConfig) (_ *record.Run, err error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	opt.source = record.SourceOf(cfg.Dyno[0])
	plan := cfg.plan()
	steps := len(plan)
	if cfg.Profile {
		steps++
	}
	l, err := openLab(ctx, &opt, loadDiskNeed(cfg.Warmup+cfg.Window), steps)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	dir, err := record.Create(opt.Results, suiteName, time.Now())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Abandon()) }()

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := &suite{cfg: &cfg, lab: l, http: &http.Client{Transport: transport}}
	run, err := s.run(ctx, plan, dir)
	if err != nil {
		return nil, err
	}
	if err := s.publish(run, dir); err != nil {
		return nil, err
	}
	if cfg.Profile {
		if err := s.profile(ctx, run.ID); err != nil {
			return run, fmt.Errorf("profile: %w", err)
		}
		if _, err := WriteReport(dir.Path()); err != nil { // again, now that there are profiles to show
			return run, err
		}
	}
	return run, verdictError(run)
}

// verdictError makes the exit code of a run that is not good.
func verdictError(run *record.Run) error {
	switch run.Verdict.Result {
	case record.Failed:
		return fmt.Errorf("%w: %s", ErrViolation, run.Verdict.Text)
	case record.Invalid:
		return fmt.Errorf("%w: %s", ErrInvalid, run.Verdict.Text)
	}
	return nil
}

// run measures the plan and puts the run together.
func (s *suite) run(ctx context.Context, plan []step, dir *record.Dir) (*record.Run, error) {
	arms := map[string]*record.Arm{}
	for _, name := range []string{armSaturate, armHalf} {
		arms[name] = &record.Arm{Name: name, Params: s.cfg.params(), Observed: map[string]string{}}
	}
	run := &record.Run{
		Kind: record.KindSuite, Question: suiteQuestion, Expectation: suiteExpectation,
		Config: s.cfg.described(), Units: loadUnits,
	}
	for i, st := range plan {
		begun := time.Now()
		if err := s.lab.between(ctx, st.name()); err != nil {
			return nil, err
		}
		if err := requireFree(s.lab.work.path, loadDiskNeed(s.cfg.Warmup+s.cfg.Window)); err != nil {
			return nil, err
		}
		files := st.dir(filepath.Join(dir.Path(), repsDir))
		if err := os.MkdirAll(files, 0o755); err != nil {
			return nil, err
		}
		started := time.Now()
		rep, err := s.measure(ctx, st, files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", st.name(), err)
		}
		rep.Order, rep.Seconds = i+1, time.Since(started).Seconds()
		arms[st.arm].Repetitions = append(arms[st.arm].Repetitions, rep)
		s.notePhase(arms[st.arm])
		if !slices.Contains(run.Seeds, st.seed) {
			run.Seeds = append(run.Seeds, st.seed)
		}
		s.lab.progress.step(time.Since(begun))
	}
	run.Arms = []record.Arm{*arms[armSaturate], *arms[armHalf]}
	run.Verdict = suiteVerdict(run)
	s.lab.finish(run)
	return run, nil
}

// notePhase writes down what WAL space the last repetition met; arms whose
// repetitions met different phases name all of them.
func (s *suite) notePhase(arm *record.Arm) {
	seen := arm.Observed[observedPhase]
	if s.phase != "" && !slices.Contains(strings.Split(seen, ","), s.phase) {
		arm.Observed[observedPhase] = strings.TrimPrefix(seen+","+s.phase, ",")
	}
}

// suiteVerdict is failed if any repetition broke a promise, else invalid if an arm has
// no majority of good ones, else ok: as in an experiment, a repetition that says
// nothing is named, counts for nothing, and costs only itself.
func suiteVerdict(run *record.Run) record.Verdict {
	v := record.Verdict{Result: record.OK}
	records := 0.0
	var unsaid []string
	for _, arm := range run.Arms {
		for _, rep := range arm.Repetitions {
			records += rep.Values["acked"]
			text := fmt.Sprintf("%s, repetition %d: %s", arm.Name, rep.Number, rep.Problem)
			switch rep.Status {
			case record.Failed:
				return record.Verdict{Result: record.Failed, Text: text}
			case record.Invalid:
				unsaid = append(unsaid, text)
			}
		}
		if !mostlyGood(&arm) {
			v.Result = record.Invalid
		}
	}
	if v.Result == record.OK {
		v.Text = fmt.Sprintf("all %.0f acknowledged records were read back once, in order and unchanged", records)
	}
	if len(unsaid) > 0 {
		v.Text = join(v.Text, "not counted: "+strings.Join(unsaid, "; "))
	}
	return v
}

// publish seals the result, draws its report and prints it beside the last one
// of this machine.
func (s *suite) publish(run *record.Run, dir *record.Dir) error {
	last, err := record.Latest(s.lab.opt.Results, suiteName, run.Environment.Fingerprint)
	if err != nil {
		return err
	}
	if err := headlineFiles(run, dir); err != nil {
		return err
	}
	if err := dir.Seal(run); err != nil {
		return err
	}
	report, err := s.lab.describe(dir)
	if err != nil {
		return err
	}
	s.lab.progress.clear()
	w := s.lab.opt.Out
	if err := writeTable(w, run); err != nil {
		return err
	}
	if last != nil {
		if err := writeChange(w, run, last.Run); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(w, "\nNo earlier good result of this machine to compare with.")
	}
	_, err = fmt.Fprintf(w, "\nresult: %s\nreport: %s\n", dir.Path(), report)
	return err
}

// headlineFiles lifts the histograms of the half arm's middle repetition (of the
// saturating one, if no half was good) to the top of the result, where tools and
// the report look for them.
func headlineFiles(run *record.Run, dir *record.Dir) error {
	name := armHalf
	number := middleRepetition(run.Arm(name), "response_p99")
	if number == 0 {
		name = armSaturate
		number = middleRepetition(run.Arm(name), "response_p99")
	}
	if number == 0 {
		return nil
	}
	from := step{arm: name, number: number}.dir(filepath.Join(dir.Path(), repsDir))
	names, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("headline files: %w", err)
	}
	for _, name := range names {
		if err := copyInto(dir, filepath.Join(from, name.Name()), name.Name()); err != nil {
			return fmt.Errorf("headline files: %w", err)
		}
	}
	run.Notes = append(run.Notes, fmt.Sprintf("the histograms at the top of the result are those of %s, repetition %d: the middle one by p99 response", name, number))
	return nil
}

// middleRepetition is the number of the good repetition with the median value
// (the lower of two), 0 if there is none.
func middleRepetition(arm *record.Arm, value string) int {
	var good []record.Repetition
	for _, rep := range arm.Repetitions {
		if _, ok := rep.Values[value]; ok && rep.Status == record.OK {
			good = append(good, rep)
		}
	}
	if len(good) == 0 {
		return 0
	}
	sort.Slice(good, func(i, j int) bool { return good[i].Values[value] < good[j].Values[value] })
	return good[(len(good)-1)/2].Number
}

func copyInto(dir *record.Dir, from, name string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := dir.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
