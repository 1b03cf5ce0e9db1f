package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"dyno/bench/record"
)

// Options says where a lab works and speaks. The zero value of a field is its
// default.
type Options struct {
	Results  string    // root of result directories: results/local, or results when Record
	Profiles string    // root of profiles: profiles/local, or profiles when Record
	Data     string    // where brokers and logs keep their data meanwhile: Results
	Record   bool      // the result is meant to be committed
	Child    []string  // program and arguments that make it a measuring child; required
	Out      io.Writer // the report for people; required
	Err      io.Writer // progress; required
	Terminal bool      // Err is a terminal

	source record.Commit // of what is measured: this program

	lock  string    // the lab lock's name; tests have their own
	quiet quietRule // when the machine counts as quiet
}

func (o *Options) setDefaults() {
	local := func(dir string) string {
		if o.Record {
			return dir
		}
		return dir + "/local"
	}
	if o.Results == "" {
		o.Results = local("results")
	}
	if o.Profiles == "" {
		o.Profiles = local("profiles")
	}
	if o.Data == "" {
		o.Data = o.Results
	}
	if o.source == (record.Commit{}) {
		o.source = record.Source()
	}
	if o.lock == "" {
		o.lock = labName
	}
	if o.quiet == (quietRule{}) {
		o.quiet = defaultQuiet
	}
}

// lab is the machine, taken for one run: the lock, a work directory, the
// environment as it was before, and what has been said. close gives it back.
type lab struct {
	opt      *Options
	lock     *lock
	work     *workDir
	child    []string
	progress *reporter
	env      record.Environment
	cautions []string
	last     []string // cautions that stand after the others, however many those are
	kept     int      // how many of cautions a ledger has
	urged    bool     // a generator went before others
	started  time.Time
}

// openLab takes the machine. need is the most one repetition may write. Errors:
// ErrUsage, ErrBusy, ErrNoSpace.
func openLab(ctx context.Context, opt *Options, need int64, steps int) (_ *lab, err error) {
	opt.setDefaults()
	if opt.Record && !opt.source.Exact() {
		return nil, fmt.Errorf("%w: a recorded run needs a program built from a commit, this one is from %s: commit and `make build`, or leave out --record",
			ErrUsage, sourceWord(opt.source))
	}
	l := &lab{opt: opt, child: opt.Child, started: time.Now(), progress: newReporter(opt.Err, opt.Terminal, steps)}
	if l.lock, err = acquire(opt.lock); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.work, err = newWorkDir(opt.Data); err != nil {
		return nil, err
	}
	if err := record.Sweep(opt.Results); err != nil {
		return nil, err
	}
	if err := requireFree(l.work.path, need); err != nil {
		return nil, err
	}
	caution, err := requireQuiet(ctx, opt.quiet, opt.Record)
	if err != nil {
		return nil, err
	}
	if caution != "" {
		l.caution(caution)
		fmt.Fprintln(opt.Err, "caution:", caution)
	}
	if l.env, err = record.Capture(l.work.path); err != nil {
		return nil, err
	}
	l.env.Probes, err = record.Probe(l.work.path)
	return l, err
}

func sourceWord(c record.Commit) string {
	if c.Dirty {
		return fmt.Sprintf("commit %.10s with uncommitted changes", c.Hash)
	}
	return "an unknown commit"
}

// close gives the machine back and leaves nothing behind. It is called once.
func (l *lab) close() error {
	l.progress.clear()
	var err error
	if l.work != nil {
		err = l.work.close()
	}
	return errors.Join(err, l.lock.release())
}

// between waits for the machine to become quiet before the next repetition.
func (l *lab) between(ctx context.Context, name string) error {
	l.progress.say(name, "wait for quiet", "")
	share, err := waitQuiet(ctx, l.opt.quiet.between())
	if err != nil {
		return err
	}
	if share > l.opt.quiet.Share {
		l.caution(fmt.Sprintf("other work used %.0f %% of the CPU before %s", 100*share, name))
	}
	return nil
}

// cautionsMax bounds how many cautions one result carries, beside those of the whole run.
const cautionsMax = 20

// caution notes what a reader of the result must know. A repetition says a few at most.
func (l *lab) caution(text string) { l.cautions = append(l.cautions, text) }

// cautionLast notes what holds for the whole run and is known at its end.
func (l *lab) cautionLast(text string) { l.last = append(l.last, text) }

// keep hands a finished repetition to the ledger, with what has been said since the one
// before. phase is what the ledger holds beside it.
func (l *lab) keep(led *ledger, arm string, rep record.Repetition, phase string) error {
	if err := led.add(ledgerLine{Arm: arm, Repetition: rep, Phase: phase, Cautions: l.cautions[l.kept:]}); err != nil {
		return err
	}
	l.kept = len(l.cautions)
	return nil
}

// recall takes over what was said in interrupted invocations, before what this one says.
func (l *lab) recall(led *ledger) {
	l.cautions, l.kept = slices.Concat(led.cautions, l.cautions), len(led.cautions)
}

func (l *lab) cautionOnce(text string) {
	if !slices.Contains(l.cautions, text) {
		l.caution(text)
	}
}

// finish fills in what every run carries, whatever it measured.
func (l *lab) finish(run *record.Run) {
	l.env.After = record.ReadPressures()
	run.Environment = l.env
	if l.urged {
		run.Config["generator_nice"] = urgentNice
	}
	run.Started = l.started.UTC().Truncate(time.Second)
	run.Seconds = time.Since(l.started).Seconds()
	run.Commit = l.opt.source
	if steal := l.env.StealShare(); steal > stealMax {
		l.cautionLast(fmt.Sprintf("the hypervisor took %.1f %% of the CPU time", 100*steal))
	}
	run.Notes = append(run.Notes, l.cautions[:min(len(l.cautions), cautionsMax)]...)
	if more := len(l.cautions) - cautionsMax; more > 0 {
		run.Notes = append(run.Notes, fmt.Sprintf("%d more cautions were left out", more))
	}
	run.Notes = append(run.Notes, l.last...)
}

// seal writes a run into a result directory of that name: other writes the files that
// stand beside it. The report is drawn, and the index of recorded results written
// anew. Nothing stays of a result that could not be sealed.
func (l *lab) seal(run *record.Run, name string, other func(dir *record.Dir) error) (dir *record.Dir, report string, err error) {
	if dir, err = record.Create(l.opt.Results, name, time.Now()); err != nil {
		return nil, "", err
	}
	if err = other(dir); err == nil {
		err = dir.Seal(run)
	}
	if err != nil {
		return nil, "", fmt.Errorf("write the result: %w", errors.Join(err, dir.Abandon()))
	}
	report, err = l.describe(dir)
	return dir, report, err
}

// describe draws the report of a sealed result and brings the index up to date.
func (l *lab) describe(dir *record.Dir) (report string, err error) {
	if report, err = WriteReport(dir.Path()); err == nil && l.opt.Record {
		err = record.WriteIndex(l.opt.Results)
	}
	return report, err
}

// nothingBeside is for a result that is its run alone.
func nothingBeside(*record.Dir) error { return nil }

// stealMax is the share of stolen CPU time above which a result carries a
// caution; the gate redoes a block at the same share.
const stealMax = 0.01
