package bench

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dyno/bench/build"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
	"dyno/bench/stats"
)

// CompareConfig is one comparison of two commits. The zero value of a field is its
// default.
type CompareConfig struct {
	Repo   string        // a directory of the checkout: "."
	Base   string        // revision; required
	Head   string        // revision; the commit that is checked out, of a tree without changes
	Micro  bool          // the work of one process instead of three brokers under load
	Looks  []int         // numbers of blocks after which it is judged, ascending: 12
	Nulls  int           // blocks of base against base, mixed in; none
	Warmup time.Duration // of a run with brokers: 3 s
	Window time.Duration // timed, at the fixed rate: 4 s
	Config string        // a file with settings of all brokers, as `dyno up --config` takes it; not with Micro
	Seed   uint64        // of all coins: drawn
	Limits paired.Limits // of what the machine may do to a block
	Force  bool          // go on with a ledger of another machine
	Anyway bool          // run also where both commits make the same program
	Metric string        // decides alone; all of the lane
	Mutant string        // "name:size", built into head: proves that it is found, see Mutants
	// Attribute says when further blocks are run with CPU profiles, to name the
	// functions that got slower: AttributeFail is the default.
	Attribute string
	// Counters, where set, is a written verdict on exact counters (gate.Report), kept in
	// the result and shown in its report.
	Counters []byte

	profiled int    // blocks of an attribution
	settings string // what Config holds

	// What tests replace: the package that is built, what a run does, who decides, how
	// long a pause is.
	pkg   string
	lane  func(*lab) lane
	judge paired.Judge
	plan  paired.Plan // Pause is for tests; the rule follows from the above
}

// Gate is the comparison that decides whether a commit may pass: all looks and null
// blocks of the rule.
func Gate(base, head string) CompareConfig {
	rule := gate.Default()
	return CompareConfig{Base: base, Head: head, Looks: rule.Looks, Nulls: rule.Nulls}
}

// What lies at least between a finding and its confirmation, whose noise should be
// its own: a few blocks of the lane.
const (
	confirmPause      = 2 * time.Minute
	confirmPauseMicro = 30 * time.Second
)

func (c *CompareConfig) setDefaults() {
	c.Repo = cmp.Or(c.Repo, ".")
	c.pkg = cmp.Or(c.pkg, "./cmd/dyno")
	c.Warmup = cmp.Or(c.Warmup, 3*time.Second)
	c.Window = cmp.Or(c.Window, 4*time.Second)
	pause := confirmPause
	if c.Micro {
		pause = confirmPauseMicro
	}
	c.plan.Pause = cmp.Or(c.plan.Pause, pause)
	if len(c.Looks) == 0 {
		c.Looks = gate.Default().Looks[:1]
	}
	if c.lane == nil {
		c.lane = c.chooseLane
	}
	if c.judge == nil {
		c.judge = gate.Judge
	}
	c.profiled = cmp.Or(c.profiled, attributeBlocks)
	c.Attribute = cmp.Or(c.Attribute, AttributeFail)
	c.Limits.SetDefaults()
}

func (c *CompareConfig) validate() error {
	switch {
	case c.Base == "":
		return fmt.Errorf("%w: name the commit to compare with: --base REV", ErrUsage)
	case c.Looks[len(c.Looks)-1] > stats.FlipsMax || c.Looks[len(c.Looks)-1]+c.Nulls > paired.BlocksMax:
		return fmt.Errorf("%w: %v blocks: want at most %d", ErrUsage, c.Looks, stats.FlipsMax)
	case c.Attribute != AttributeFail && c.Attribute != AttributeAlways && c.Attribute != AttributeNever:
		return fmt.Errorf("%w: --attribute %s: want %s, %s or %s", ErrUsage, c.Attribute, AttributeFail, AttributeAlways, AttributeNever)
	case c.Attribute == AttributeAlways && c.Micro:
		return fmt.Errorf("%w: --attribute needs brokers to profile: leave out --micro", ErrUsage)
	case c.Window < windowMin:
		return fmt.Errorf("%w: a window of %v: want at least %v", ErrUsage, c.Window, windowMin)
	case c.Config != "" && c.Micro:
		return fmt.Errorf("%w: --config is of brokers: leave out --micro", ErrUsage)
	}
	if c.Config == "" {
		return nil
	}
	var err error
	c.settings, err = ReadSettings(c.Config)
	return err
}

// ReadSettings reads settings of brokers that are to be compared. It refuses, before half
// an hour of measuring, what is none, and what no result could state. Error: ErrUsage.
func ReadSettings(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: settings of the brokers: %w", ErrUsage, err)
	}
	if strings.TrimSpace(string(raw)) == "" {
		return "", fmt.Errorf("%w: settings of the brokers: %s is empty", ErrUsage, file)
	}
	if place := record.Place(string(raw)); place != "" {
		return "", fmt.Errorf("%w: settings of the brokers: %s holds the absolute path %s: results are public and state the settings", ErrUsage, file, place)
	}
	return string(raw), nil
}

// rule is the lane's with the blocks that were asked for. One that could not decide
// is refused by the judge before anything runs. Error: ErrUsage.
func (c *CompareConfig) rule(metrics []gate.Metric) (gate.Rule, error) {
	r := gate.Default()
	r.Metrics, r.Looks, r.Nulls = metrics, c.Looks, c.Nulls
	if _, err := c.judge(r, &gate.Evidence{Base: c.Base, Head: cmp.Or(c.Head, "HEAD")}); err != nil {
		return r, fmt.Errorf("%w: %w: choose more --blocks", ErrUsage, err)
	}
	return r, nil
}

// decide makes the rule: of all the lane's metrics, or of the one that was asked for.
// Errors: ErrUsage.
func (c *CompareConfig) decide() (err error) {
	metrics := c.lane(nil).metrics()
	if c.Metric != "" {
		var names []string
		for _, m := range metrics {
			names = append(names, m.Name)
		}
		at := slices.Index(names, c.Metric)
		if at < 0 {
			return fmt.Errorf("%w: no metric %s: there are %s", ErrUsage, c.Metric, strings.Join(names, ", "))
		}
		metrics = metrics[at : at+1]
	}
	if _, err := c.mutant(); err != nil {
		return err
	}
	c.plan.Rule, err = c.rule(metrics)
	return err
}

// Compare builds two commits and runs their programs against each other in paired
// blocks until the rule decides, writes a result and prints it. This program is the
// measuring side for both; only what is measured comes from the two builds. It
// blocks for minutes, until everything it started has ended and everything it built
// is gone, also when ctx is cancelled: the blocks that were measured stay in a
// ledger, and the same call goes on from there. Errors: ErrUsage, ErrBusy,
// ErrNoSpace, ErrStart, ErrViolation where base broke a promise, those of
// bench/build and bench/paired.
func Compare(ctx context.Context, opt Options, cfg CompareConfig) (_ *Verdict, err error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := cfg.decide(); err != nil {
		return nil, err
	}
	repo, base, head, err := cfg.commits(ctx)
	if err != nil {
		return nil, err
	}
	opt.source = record.Commit{Hash: head.Hash}
	l, err := openLab(ctx, &opt, cfg.diskNeed(), 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	c := &compare{cfg: &cfg, lab: l, lane: cfg.lane(l), base: base, head: head}
	same, err := c.build(ctx, repo)
	defer func() {
		if c.builder != nil {
			err = errors.Join(err, c.builder.Close())
		}
	}()
	if err != nil {
		return nil, err
	}
	if same && cfg.Mutant != "" {
		return nil, fmt.Errorf("%w: head does not know the mutant %s: choose a later commit", ErrUsage, cfg.Mutant)
	}
	if same && !cfg.Anyway {
		return c.identical()
	}
	return c.measure(ctx)
}

// commits finds both commits. Whatever is wrong with them is said before anything
// is built.
func (c *CompareConfig) commits(ctx context.Context) (repo *build.Repo, base, head build.Commit, err error) {
	if repo, err = build.Open(ctx, c.Repo); err != nil {
		return nil, base, head, err
	}
	if base, err = repo.Resolve(ctx, c.Base); err != nil {
		return nil, base, head, fmt.Errorf("base: %w", err)
	}
	rev := c.Head
	if rev == "" {
		rev = "HEAD"
		if err = repo.RequireClean(ctx); err != nil {
			return nil, base, head, err
		}
	}
	if head, err = repo.Resolve(ctx, rev); err != nil {
		return nil, base, head, fmt.Errorf("head: %w", err)
	}
	return repo, base, head, nil
}

// compare is a comparison in progress. One goroutine owns it.
type compare struct {
	cfg        *CompareConfig
	lab        *lab
	lane       lane
	base, head build.Commit
	builder    *build.Builder
	stand      *stand
}

// build makes both programs, where the linker puts functions by itself, and says
// whether they are the same.
func (c *compare) build(ctx context.Context, repo *build.Repo) (same bool, err error) {
	dir := filepath.Join(c.lab.work.path, "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return false, fmt.Errorf("make build directory: %w", err)
	}
	if c.builder, err = build.NewBuilder(ctx, repo, dir, c.cfg.pkg); err != nil {
		return false, err
	}
	c.stand = &stand{lab: c.lab, lane: c.lane, programs: map[paired.Side]*program{}, need: c.cfg.diskNeed()}
	for side, commit := range map[paired.Side]build.Commit{paired.Base: c.base, paired.Head: c.head} {
		c.lab.progress.say(string(side), "build", commit.Short())
		tree, err := c.builder.Checkout(ctx, commit)
		if err == nil {
			c.cfg.vary(tree, side)
			err = c.stand.add(ctx, side, tree)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", side, blameDisk(dir, err))
			if side == paired.Base {
				err = &badBase{err}
			}
			return false, err
		}
	}
	same, _, err = build.Identical(c.stand.programs[paired.Base].path, c.stand.programs[paired.Head].path)
	return same, err
}

// identical concludes without a run.
func (c *compare) identical() (*Verdict, error) {
	v := c.verdict()
	v.Verdict, v.Identical = gate.Pass, true
	v.Text = "identical: nothing was run, both commits make the same instructions, data and symbols"
	c.lab.progress.clear()
	fmt.Fprintf(c.lab.opt.Out, "\nbase %s\nhead %s\n%s: %s\n", c.base.Short(), c.head.Short(), v.Verdict, v.Text)
	return v, v.write(filepath.Join(c.lab.opt.Results, VerdictFile))
}

// measure runs the blocks and publishes what they say.
func (c *compare) measure(ctx context.Context) (_ *Verdict, err error) {
	for _, side := range []paired.Side{paired.Base, paired.Head} {
		if err := c.stand.check(ctx, side); err != nil {
			return nil, err
		}
	}
	led, err := c.openLedger()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, led.Close()) }()
	c.stand.goOn(led)
	run := &paired.Comparison{Plan: c.cfg.plan, Limits: c.cfg.Limits, Ledger: led, Stand: c.stand, Judge: c.cfg.judge}
	if run.Nulls, err = c.readNulls(); err != nil {
		return nil, err
	}
	end, err := run.Run(ctx)
	if errors.Is(err, paired.ErrViolation) || errors.Is(err, paired.ErrHarness) || errors.Is(err, gate.ErrEvidence) {
		return nil, fmt.Errorf("%w (what was measured is in %s: the same command ends the same way until that file is removed)", err, led.Path())
	}
	if err != nil {
		rule := &run.Plan.Rule
		return nil, &Interrupted{What: "blocks", Kept: led.Kept(), Of: max(led.Kept(), rule.Slots(rule.Looks[0])), Err: err}
	}
	found, err := c.attribute(ctx, led, end)
	if err != nil {
		return nil, err
	}
	return c.publish(led, end, found)
}

// described is the effective configuration as results print it, and what makes a
// ledger that of the same comparison.
func (c *compare) described() map[string]any {
	d := map[string]any{"lane": c.lane.name(), "rule": c.cfg.plan.Rule, "base": c.base.Hash, "head": c.head.Hash, "limits": c.cfg.Limits, "build": "-trimpath -buildvcs=false -ldflags='-w -buildid= -randlayout=SEED'"}
	for name, v := range c.lane.described() {
		d[name] = v
	}
	if c.cfg.Mutant != "" {
		d["mutant"] = c.cfg.Mutant
	}
	return d
}

func (c *compare) openLedger() (*paired.Ledger, error) {
	config, err := json.Marshal(c.described())
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lab, err := fileHash(c.lab.child[0])
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return paired.OpenLedger(c.lab.opt.Results, paired.Header{
		Lane: c.lane.name(), Base: c.base.Hash, Head: c.head.Hash, Lab: lab, Toolchain: c.builder.Toolchain(), Config: config,
		Fingerprint: c.lab.env.Fingerprint, Seed: c.cfg.Seed, Began: time.Now().UTC().Truncate(time.Second),
	}, c.cfg.Force)
}

// fileHash is a short hash of a file's bytes.
func fileHash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}
