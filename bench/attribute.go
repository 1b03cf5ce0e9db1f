package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"dyno/bench/attribute"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/stats"
)

// When functions are named.
const (
	AttributeFail   = "fail"   // after a FAIL
	AttributeAlways = "always" // after each comparison
	AttributeNever  = "never"
)

const (
	// attributeBlocks is how many blocks are run with profiles, each of four runs.
	attributeBlocks = 12
	// ours is what the names of functions begin with that may be blamed.
	ours = "dyno/"
	// valueProfiled is what a profiled run measures: the CPU-seconds per million
	// records to which its profiles are scaled.
	valueProfiled = "profiled_cpu"
)

// profiler is a lane whose programs can be profiled.
type profiler interface {
	// profiled is a lane whose runs do what decides about a metric, or about the first
	// where that is "", offer that load, and leave a CPU profile of each process in
	// the directory into, under profileName. phase says what they do, for people.
	profiled(metric string, load map[string]float64, into string) (l lane, phase string)
}

// The merged profiles of an attribution.
const (
	baseProfile = "base.pprof"
	headProfile = "head.pprof"
)

// profileName is the file of one process's profile of the run in a directory of that
// name.
func profileName(run string, process int) string {
	return fmt.Sprintf("run-%s-process-%d.pprof", run, process)
}

// attributed is an attribution and the directory of its profiles, which keep moves to
// where it stays. nil is none.
type attributed struct {
	*attribute.Attribution
	dir string
}

// attribute runs further blocks with profiles, if this end of a comparison calls for
// it, and names the functions that got slower. The blocks that decided were run
// without. What goes wrong here takes nothing from the verdict: it becomes a caution;
// only the end of ctx is an error, and leaves what was profiled to the next invocation.
func (c *compare) attribute(ctx context.Context, led *paired.Ledger, end paired.End) (*attributed, error) {
	p, ok := c.lane.(profiler)
	failed := end.Decision != nil && end.Decision.Verdict == gate.Fail
	if c.cfg.Attribute == AttributeNever || !failed && c.cfg.Attribute != AttributeAlways || end.Decision == nil {
		return nil, nil
	}
	if !ok {
		c.lab.caution("no function is named: this lane takes no profiles; the same comparison without --micro does")
		return nil, nil
	}
	found, err := c.profiles(ctx, p, led, blamed(end.Decision))
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		c.lab.caution(fmt.Sprintf("no function is named: %v", err))
	}
	return found, nil
}

// blamed is the metric that a decision failed by; "" if none.
func blamed(d *gate.Decision) string {
	for _, f := range d.Findings {
		if f.Confirmed {
			return f.Metric
		}
	}
	return ""
}

// unfinished is where the blocks with profiles of a comparison lie until its result is
// written.
func unfinished(main *paired.Ledger) string {
	return strings.TrimSuffix(main.Path(), filepath.Ext(main.Path())) + ".profiles"
}

// profiles runs the blocks, or goes on with those of an interrupted invocation, and
// evaluates their profiles.
func (c *compare) profiles(ctx context.Context, p profiler, main *paired.Ledger, metric string) (_ *attributed, err error) {
	into := unfinished(main)
	if main.Resumed == 0 { // what lies there is of a comparison whose ledger somebody removed
		err = os.RemoveAll(into)
	}
	if err := errors.Join(err, os.MkdirAll(into, 0o755)); err != nil {
		return nil, err
	}
	var load map[string]float64
	for _, line := range main.Lines {
		if line.Load != nil {
			load = line.Load
		}
	}
	l, phase := p.profiled(metric, load, into)
	config, err := json.Marshal(map[string]any{"metric": metric, "load": load})
	if err != nil {
		return nil, err
	}
	led, err := paired.OpenLedger(into, paired.Header{Lane: l.name(), Base: c.base.Hash, Head: c.head.Hash, Lab: main.Header.Lab, Toolchain: c.builder.Toolchain(),
		Config: config, Fingerprint: c.lab.env.Fingerprint, Seed: paired.ProfileSeed(main.Header.Seed), Began: time.Now().UTC().Truncate(time.Second)}, c.cfg.Force)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, led.Close()) }()
	c.stand.goOn(led)
	if err := dropStray(into, led); err != nil {
		return nil, err
	}
	rule := gate.Rule{Metrics: l.metrics(), Looks: []int{c.cfg.profiled}, RedoShare: c.cfg.plan.Rule.RedoShare}
	run := &paired.Comparison{Plan: paired.Plan{Rule: rule}, Limits: c.cfg.Limits, Ledger: led, Judge: enough,
		Stand: &stand{lab: c.lab, lane: l, programs: c.stand.programs, need: c.stand.need}}
	end, err := run.Run(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &Interrupted{What: "blocks", Kept: main.Kept() + led.Kept(), Of: main.Kept() + c.cfg.profiled, Err: err}
	case err != nil:
		return nil, err
	case end.Decision == nil:
		return nil, errors.New(end.Broken + end.Unfit + end.Behind)
	}
	blocks, err := profiledBlocks(led, into)
	if err != nil {
		return nil, err
	}
	a, err := attribute.Attribute(blocks, ours, led.Header.Seed)
	if err != nil {
		return nil, err
	}
	a.Phase = phase
	merged := filepath.Join(c.lab.work.path, "profiles")
	if err := os.Mkdir(merged, 0o755); err != nil {
		return nil, err
	}
	if err := writeMerged(merged, led, blocks); err != nil {
		return nil, err
	}
	return &attributed{a, merged}, nil
}

// dropStray removes profiles of runs that an interruption cut off before they were
// written down: the next run gets the same directory's name.
func dropStray(from string, led *paired.Ledger) error {
	known := map[string]bool{}
	for _, line := range led.Lines {
		if line.Run != nil {
			known[profileName(line.Run.Dir, 1)] = true
		}
	}
	names, err := filepath.Glob(filepath.Join(from, "run-*.pprof"))
	for _, name := range names {
		first, _, _ := strings.Cut(filepath.Base(name), "-process-")
		if !known[first+"-process-1.pprof"] {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// enough wants the rule's blocks and has no opinion of them: profiles name, they do
// not decide.
func enough(r gate.Rule, e *gate.Evidence) (*gate.Decision, error) {
	n := 0
	for _, b := range e.Blocks {
		if b.Redo == "" {
			n++
		}
	}
	if need := r.Looks[0] - n; need > 0 {
		return &gate.Decision{Verdict: gate.Continue, Need: gate.Need{Blocks: need}}, nil
	}
	return &gate.Decision{Verdict: gate.Inconclusive}, nil
}

// profiledBlocks reads the profiles of the blocks that count.
func profiledBlocks(led *paired.Ledger, from string) ([]attribute.Block, error) {
	blocks := make([]attribute.Block, led.Kept())
	cpu := make([]map[paired.Side][]float64, len(blocks))
	for _, r := range led.Stored() {
		if r.Status != paired.OK {
			continue // of a block that was run again
		}
		if cpu[r.Number] == nil {
			cpu[r.Number] = map[paired.Side][]float64{}
		}
		cpu[r.Number][r.Side] = append(cpu[r.Number][r.Side], r.Values[valueProfiled])
		side := &blocks[r.Number].Base
		if r.Side == paired.Head {
			side = &blocks[r.Number].Head
		}
		taken, err := readProfiles(from, r.Dir)
		if err != nil {
			return nil, fmt.Errorf("%s, run %d: %w", r.Slot, r.Place, err)
		}
		side.Profiles = append(side.Profiles, taken...)
		side.CPU = stats.Median(cpu[r.Number][r.Side])
	}
	return blocks, nil
}

// readProfiles reads the profiles of all processes of a run.
func readProfiles(from, run string) (list []*profile.Profile, err error) {
	for n := 1; ; n++ {
		f, err := os.Open(filepath.Join(from, profileName(run, n)))
		if errors.Is(err, fs.ErrNotExist) && n > 1 {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		p, err := profile.Parse(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read a profile: %w", err)
		}
		list = append(list, p)
	}
}

// writeMerged makes, of a profile of each process and run, one for each side and block,
// and one for each side, which `go tool pprof -diff_base` takes; beside them lies the
// ledger of their runs.
func writeMerged(dir string, led *paired.Ledger, blocks []attribute.Block) error {
	text, err := led.Text()
	if err != nil {
		return err
	}
	var all [2][]*profile.Profile
	for n, b := range blocks {
		for i, side := range []attribute.Side{b.Base, b.Head} {
			all[i] = append(all[i], side.Profiles...)
			if err := writeProfile(filepath.Join(dir, fmt.Sprintf("block-%02d-%s.pprof", n+1, []paired.Side{paired.Base, paired.Head}[i])), side.Profiles); err != nil {
				return err
			}
		}
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "ledger.jsonl"), text, 0o644),
		writeProfile(filepath.Join(dir, baseProfile), all[0]), writeProfile(filepath.Join(dir, headProfile), all[1]))
}

func writeProfile(path string, list []*profile.Profile) error {
	merged, err := profile.Merge(list)
	if err != nil {
		return fmt.Errorf("merge profiles: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(merged.Write(f), f.Close())
}

// keep moves the profiles to where those of a result lie.
func (a *attributed) keep(root, id string) (*attribute.Attribution, error) {
	if a == nil {
		return nil, nil
	}
	a.Profiles = filepath.Join(root, id)
	if err := os.MkdirAll(a.Profiles, 0o755); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		raw, err := os.ReadFile(filepath.Join(a.dir, n.Name())) // data and results may lie on two disks
		if err == nil {
			err = os.WriteFile(filepath.Join(a.Profiles, n.Name()), raw, 0o644)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("keep the profiles: %w", err), os.RemoveAll(a.Profiles))
		}
	}
	return a.Attribution, nil
}

// drop takes the profiles away again that keep moved: the result that they are of could
// not be made.
func (a *attributed) drop() error {
	if a == nil || a.Profiles == "" {
		return nil
	}
	return os.RemoveAll(a.Profiles)
}
