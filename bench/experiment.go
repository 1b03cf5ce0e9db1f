package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"dyno/bench/cell"
	"dyno/bench/record"
)

// Experiment is a question that can be answered wrongly: its cells, what each
// ratio must reach, and what was expected before it ran.
type Experiment struct {
	Name        string
	Question    string
	Expectation string
	Units       []record.Unit
	Cells       []Cell
	Targets     []Goal
	DiskNeed    int64 // most bytes on the disk at a time
	Config      map[string]any
}

// Cell is one arm: either a fixed amount of work, in as many processes as it has
// jobs, or whatever its Measure does with a cluster.
type Cell struct {
	Arm         string // family/name; cells of one Block run next to each other
	Block       string
	Params      map[string]string
	Repetitions int
	// RecordsPerSyncMax, where set, makes a repetition invalid that synced fewer
	// times: it did other work than the arm it is compared with.
	RecordsPerSyncMax float64
	Jobs              func(dir string, seed uint64) []Task
	// Measure, where set, does the work of one repetition instead of Jobs.
	Measure func(ctx context.Context, b *bed) error
	// NeedsPeers says that a Measure runs dyno-peers.
	NeedsPeers bool
}

// paramBlock is the parameter that names an arm's block.
const paramBlock = "block"

// Task is the work of one process of a cell.
type Task struct {
	Peers bool // done by bin/dyno-peers instead of dyno itself
	Work  string
	Spec  any
}

// Goal is a promised ratio between two arms of one run.
type Goal struct {
	Name         string
	Arm, Against string
	Measure      string
	AtLeast      float64
}

// ExperimentConfig chooses how an experiment runs.
type ExperimentConfig struct {
	Quick bool     // tiny sizes and few repetitions: to see that it runs, not what it says
	Only  []string // families of arms; empty means all
	Peers string   // path of dyno-peers; needed where an arm is a peer's
	Dyno  []string // program and leading arguments of dyno; needed where an arm is a cluster
	Seed  uint64   // of the order and of the payloads: 1
}

// experiments by name.
var experiments = map[string]func(ExperimentConfig) Experiment{"fsync": fsyncExperiment}

// Experiments lists the names RunExperiment knows, sorted.
func Experiments() []string {
	var names []string
	for name := range experiments {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// RunExperiment runs every cell of the named experiment, all arms interleaved,
// and writes a result. It goes on where an interrupted run of the same
// configuration stopped. It blocks until everything it started has ended. A
// missed target is an answer, not an error. Errors: ErrUsage, ErrBusy,
// ErrNoSpace, ErrStart, ErrViolation.
func RunExperiment(ctx context.Context, name string, opt Options, cfg ExperimentConfig) (_ *record.Run, err error) {
	build, ok := experiments[name]
	if !ok {
		return nil, fmt.Errorf("%w: no experiment %q; there is %s", ErrUsage, name, strings.Join(Experiments(), ", "))
	}
	if cfg.Seed == 0 {
		cfg.Seed = 1
	}
	e := build(cfg)
	if err := e.restrict(cfg.Only); err != nil {
		return nil, err
	}
	if err := e.findPeers(ctx, cfg.Peers); err != nil {
		return nil, err
	}
	if cfg.Quick { // nothing is concluded from it, so nobody waits for quiet
		opt.Record, opt.quiet = false, quietRule{Share: 1, Window: time.Millisecond, WaitMax: time.Millisecond}
	}
	order := e.order(cfg.Seed)
	l, err := openLab(ctx, &opt, e.DiskNeed, len(order))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	led, err := openLedger(opt.Results, &e, l.env.Fingerprint, opt.source, order)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, led.close()) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	x := &experiment{Experiment: &e, lab: l, ledger: led, peers: cfg.Peers, dyno: cfg.Dyno, http: &http.Client{Transport: transport}}
	if err := x.all(ctx, order); err != nil {
		return nil, err
	}
	return x.publish(cfg)
}

// restrict keeps the families asked for, and the goals that are still whole.
func (e *Experiment) restrict(only []string) error {
	if len(only) == 0 {
		return nil
	}
	known := map[string]bool{}
	kept := map[string]bool{}
	var cells []Cell
	for _, c := range e.Cells {
		family, _, _ := strings.Cut(c.Arm, "/")
		known[family] = true
		if slices.Contains(only, family) {
			cells = append(cells, c)
			kept[c.Arm] = true
		}
	}
	for _, name := range only {
		if !known[name] {
			return fmt.Errorf("%w: experiment %s has no family %q of arms", ErrUsage, e.Name, name)
		}
	}
	e.Cells = cells
	e.Targets = slices.DeleteFunc(e.Targets, func(g Goal) bool { return !kept[g.Arm] || !kept[g.Against] })
	e.Config["only"] = strings.Join(only, ",")
	return nil
}

// needsPeers says whether any cell is done by dyno-peers.
func (e *Experiment) needsPeers() bool {
	return slices.ContainsFunc(e.Cells, func(c Cell) bool {
		return c.NeedsPeers || c.Jobs != nil && slices.ContainsFunc(c.Jobs("", 0), func(t Task) bool { return t.Peers })
	})
}

// findPeers asks dyno-peers which versions it was built with, and writes them
// into the configuration of the result.
func (e *Experiment) findPeers(ctx context.Context, path string) error {
	if !e.needsPeers() {
		return nil
	}
	const way = "run `make build-peers` (the first time it needs the peers' modules), or leave these arms out with --only"
	if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%w: %s is missing: %s", ErrUsage, path, way)
	}
	out, err := exec.CommandContext(ctx, path, "versions").Output()
	versions := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &versions)
	}
	if err != nil {
		return fmt.Errorf("%w %s: %v: %s", ErrStart, path, err, way)
	}
	for name, version := range versions {
		e.Config["version_"+name] = version
	}
	return nil
}

// turn is one repetition of one cell.
type turn struct {
	cell   int
	number int
	seed   uint64
}

// order lays out all repetitions: repetition by repetition, blocks shuffled by
// the seed, and the arms of a block, which are compared, shuffled next to each
// other. So drift of the machine meets all arms of a comparison alike.
func (e *Experiment) order(seed uint64) []turn {
	r := rand.New(rand.NewPCG(seed, 0x64796e6f))
	var blocks [][]int
	at := map[string]int{}
	most := 0
	for i, c := range e.Cells {
		b, ok := at[c.Block]
		if !ok {
			b = len(blocks)
			at[c.Block] = b
			blocks = append(blocks, nil)
		}
		blocks[b] = append(blocks[b], i)
		most = max(most, c.Repetitions)
	}
	var turns []turn
	for n := 1; n <= most; n++ {
		r.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
		for _, block := range blocks {
			r.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
			for _, i := range block {
				if n <= e.Cells[i].Repetitions {
					turns = append(turns, turn{i, n, seed + uint64(n) - 1})
				}
			}
		}
	}
	return turns
}

// experiment is a run in progress. One goroutine owns it.
type experiment struct {
	*Experiment
	lab    *lab
	ledger *ledger
	peers  string
	dyno   []string
	http   *http.Client // to the admin addresses of brokers
	phase  string       // of the space the last repetition wrote into, as its log tells
}

// all runs what the ledger does not have yet.
func (x *experiment) all(ctx context.Context, order []turn) error {
	for i, t := range order {
		c := &x.Cells[t.cell]
		if x.ledger.has(c.Arm, t.number) {
			x.lab.progress.skip()
			continue
		}
		name := fmt.Sprintf("%s, repetition %d", c.Arm, t.number)
		begun := time.Now()
		if err := x.lab.between(ctx, name); err != nil {
			return x.interrupted(err, len(order))
		}
		if err := requireFree(x.lab.work.path, x.DiskNeed); err != nil {
			return err
		}
		x.lab.progress.say(name, "measure", "")
		rep, err := x.measure(ctx, c, t)
		if err != nil {
			return x.interrupted(fmt.Errorf("%s: %w", name, err), len(order))
		}
		rep.Order = i + 1
		if err := x.ledger.add(c.Arm, rep, x.phase); err != nil {
			return err
		}
		x.lab.progress.step(time.Since(begun))
	}
	return nil
}

// interrupted tells what is kept.
func (x *experiment) interrupted(err error, of int) error {
	return &Interrupted{Kept: x.ledger.kept(), Of: of, Err: err}
}

// measure runs one repetition of a cell in fresh processes and a fresh directory.
func (x *experiment) measure(ctx context.Context, c *Cell, t turn) (record.Repetition, error) {
	rep := record.Repetition{Number: t.number, Seed: t.seed, Status: record.OK}
	dir, err := x.lab.work.fresh()
	if err != nil {
		return rep, err
	}
	if c.Measure != nil {
		return x.measureBed(ctx, c, t, dir)
	}
	jobs, err := x.jobs(c, dir, t.seed)
	if err != nil {
		return rep, err
	}
	var device uint64
	hasDisk := false
	raw, err := runJobs(ctx, jobs, func() { device, hasDisk = record.DiskWritten(dir) })
	if errors.Is(err, ErrViolation) {
		rep.Status, rep.Problem = record.Failed, err.Error()
		return rep, x.lab.work.settle(dir)
	}
	if err != nil {
		return rep, err
	}
	if err := syncFS(x.lab.work.path); err != nil {
		return rep, err
	}
	written := int64(-1)
	if now, ok := record.DiskWritten(dir); ok && hasDisk {
		written = int64(now - device)
	}
	if rep.Values, rep.Seconds, err = cellValues(raw, written); err != nil {
		return rep, err
	}
	x.phase = cellPhase(raw)
	c.check(&rep)
	return rep, x.lab.work.settle(dir)
}

// check makes a repetition invalid that did not do the work of its arm.
func (c *Cell) check(rep *record.Repetition) {
	if got := rep.Values["records_per_sync"]; c.RecordsPerSyncMax > 0 && got > c.RecordsPerSyncMax {
		rep.Status = record.Invalid
		rep.Problem = fmt.Sprintf("%.2f records per sync, at most %.2f are the same work as the raw loop's", got, c.RecordsPerSyncMax)
	}
}

// jobs gives each task of a cell a directory and a process.
func (x *experiment) jobs(c *Cell, dir string, seed uint64) ([]job, error) {
	var jobs []job
	for i, task := range c.Jobs(dir, seed) {
		argv, name := x.lab.child, "the measuring process"
		if task.Peers {
			argv, name = []string{x.peers, "child"}, "dyno-peers"
		}
		if len(jobs) > 0 {
			name = fmt.Sprintf("%s %d", name, i+1)
		}
		jobs = append(jobs, job{name: name, argv: argv, work: task.Work, spec: task.Spec})
	}
	return jobs, nil
}

// cellPhase names the states of space a cell's processes met, each once.
func cellPhase(raw []json.RawMessage) string {
	var seen []string
	for _, r := range raw {
		var res cell.Result // cellValues has read it before
		if json.Unmarshal(r, &res) == nil && res.Phase != "" && !slices.Contains(seen, res.Phase) {
			seen = append(seen, res.Phase)
		}
	}
	return strings.Join(seen, ",")
}

// cellUnits declares what cellValues gives.
var cellUnits = []record.Unit{
	{Name: "throughput", Unit: "MB/s", Better: "higher"},
	{Name: "appends", Unit: "1/s", Better: "higher"},
	{Name: "wait_p50", Unit: "ns", Better: "lower"},
	{Name: "wait_p99", Unit: "ns", Better: "lower"},
	{Name: "syncs", Unit: "1/s"},
	{Name: "records_per_sync", Unit: "records"},
	{Name: "disk_bytes", Unit: "B/payload-B", Better: "lower"},
	{Name: "cpu", Unit: "cpu-s/GB", Better: "lower"},
}

// cellValues joins the results of a cell's processes, which worked at the same
// time: amounts add up, the time is that of the last to end, the median wait is
// the mean of theirs and the p99 the worst. written is what the device wrote
// meanwhile, negative if it does not tell.
func cellValues(raw []json.RawMessage, written int64) (map[string]float64, float64, error) {
	var ops, bytes, syncs, cpu, seconds, p50, p99 float64
	for _, r := range raw {
		var res cell.Result
		if err := json.Unmarshal(r, &res); err != nil {
			return nil, 0, fmt.Errorf("result of a cell: %w", err)
		}
		if res.Verified != res.Ops || res.Ops == 0 || res.Seconds <= 0 {
			return nil, 0, fmt.Errorf("result of a cell: %d of %d records verified in %v s", res.Verified, res.Ops, res.Seconds)
		}
		ops, bytes = ops+float64(res.Ops), bytes+float64(res.Bytes)
		syncs, cpu = syncs+float64(res.Syncs), cpu+res.CPUSeconds
		seconds = max(seconds, res.Seconds)
		p50, p99 = p50+res.P50Ns/float64(len(raw)), max(p99, res.P99Ns)
	}
	values := map[string]float64{
		"throughput": bytes / 1e6 / seconds, "appends": ops / seconds, "wait_p50": p50, "wait_p99": p99,
		"syncs": syncs / seconds, "cpu": cpu / (bytes / 1e9),
	}
	if syncs > 0 {
		values["records_per_sync"] = ops / syncs
	}
	if written >= 0 {
		values["disk_bytes"] = float64(written) / bytes
	}
	return values, seconds, nil
}
