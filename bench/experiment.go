package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"dyno/bench/record"
)

// Experiment is a question that can be answered wrongly: its cells, what each
// ratio must reach and each measure must keep, and what was expected before it ran.
type Experiment struct {
	Name        string
	Question    string
	Expectation string
	Units       []record.Unit
	Cells       []Cell
	Targets     []Goal
	Columns     []column // of the printed table
	DiskNeed    int64    // most bytes on the disk at a time
	Config      map[string]any
	// Derive, where set, adds values that take two arms to the repetitions of a run
	// that is complete, before it is judged.
	Derive func(run *record.Run)
	// Answer, where set, says what a judged run answers, in words and in factors.
	Answer func(run *record.Run) (string, []record.Factor)
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
	// First runs the cell's repetitions before those of all others, which need what it finds.
	First bool
	// NeedsDyno and NeedsPeers say which program a Measure starts.
	NeedsDyno, NeedsPeers bool
}

// paramBlock is the parameter that names an arm's block.
const paramBlock = "block"

// Task is the work of one process of a cell.
type Task struct {
	Peers bool // done by bin/dyno-peers instead of dyno itself
	Work  string
	Spec  any
}

// ExperimentConfig chooses how an experiment runs.
type ExperimentConfig struct {
	Quick       bool     // tiny sizes and few repetitions: to see that it runs, not what it says
	Only        []string // families of arms; empty means all
	Repetitions int      // of the cells that carry a target: the experiment's own number
	Peers       string   // path of dyno-peers; needed where an arm is a peer's
	Dyno        []string // program and leading arguments of dyno; needed where an arm is a cluster
	Seed        uint64   // of the order and of the payloads: 1
}

// repetitionsMax is how often a cell may be asked to run.
const repetitionsMax = 100

// configAsked is where a result has how often cells were asked to run; it is missing
// where that was left to the experiment.
const configAsked = "repetitions_asked"

// headline is how often a cell runs that carries a target: as often as was asked
// for, else usual; a quick run does it twice.
func (c *ExperimentConfig) headline(usual int) int {
	switch {
	case c.Repetitions > 0:
		return c.Repetitions
	case c.Quick:
		return 2
	}
	return usual
}

// once is headline for cells that take seconds or more: a quick run does them once.
func (c *ExperimentConfig) once(usual int) int {
	if c.Quick && c.Repetitions == 0 {
		return 1
	}
	return c.headline(usual)
}

// plainReps is how often other cells run; a quick run does them once.
const plainReps = 3

func (c *ExperimentConfig) plain() int {
	if c.Quick {
		return 1
	}
	return plainReps
}

// known is an experiment that can be asked for.
type known struct {
	purpose string // one line, for people
	build   func(ExperimentConfig) Experiment
}

// experiments by name.
var experiments = map[string]known{
	"acks":               {"what acks 0, 1 and all cost, and how many acknowledged records each loses to kill -9 and to a power cut", acksExperiment},
	"batching":           {"what proposing batches gains: a ladder from the origin's path to ours, against its claim of 270x", batchingExperiment},
	"fsync":              {"which disk discipline pays, and dyno's log against those of etcd and HashiCorp", fsyncExperiment},
	"idle":               {"what partitions that nobody uses cost: CPU, memory, wire and syncs, at 0, 8 and 1,000 of them", idleExperiment},
	"latency-throughput": {"p50, p99 and p99.9 from 10 to 110 % of the maximum, dyno and NATS JetStream; and the largest rate with a p99 of 50 ms", latencyExperiment},
	"partitions":         {"how cost grows from 1 to 4,096 partitions at one byte rate, and with 0 to 10,000 that nobody uses", partitionsExperiment},
	"raft-version":       {"go.etcd.io/raft v3.6.0 or v3.7.0: propose and follow with entries of 256 B to 1 MiB", raftVersionExperiment},
	"recovery":           {"how long writes stand still when nodes are killed, restarted in turn, or all gone at once", recoveryExperiment},
	"replication":        {"three brokers, synced: against NATS JetStream, and from 8 to 1,000 partitions", replicationExperiment},
	"rwlock":             {"what a lock on the produce path costs, against a claim of 15.7x; and five maps of replicas", rwlockExperiment},
	"transport":          {"Raft's messages in frames of our own over TCP, or over gRPC, with and without TLS", transportExperiment},
}

// Experiments lists the names RunExperiment knows, sorted.
func Experiments() []string {
	return slices.Sorted(maps.Keys(experiments))
}

// Purpose says in one line what an experiment that Experiments lists is for.
func Purpose(name string) string { return experiments[name].purpose }

// RunExperiment runs every cell of the named experiment, all arms interleaved,
// and writes a result. It goes on where an interrupted run of the same
// configuration stopped. It blocks until everything it started has ended. A
// missed target is an answer, not an error. Errors: ErrUsage, ErrBusy,
// ErrNoSpace, ErrStart, ErrViolation.
func RunExperiment(ctx context.Context, name string, opt Options, cfg ExperimentConfig) (_ *record.Run, err error) {
	known, ok := experiments[name]
	if !ok {
		return nil, fmt.Errorf("%w: no experiment %q; there are %s", ErrUsage, name, strings.Join(Experiments(), ", "))
	}
	if cfg.Repetitions < 0 || cfg.Repetitions > repetitionsMax {
		return nil, fmt.Errorf("%w: %d repetitions: want 1 to %d", ErrUsage, cfg.Repetitions, repetitionsMax)
	}
	if cfg.Seed == 0 {
		cfg.Seed = 1
	}
	e := known.build(cfg)
	if err := e.restrict(cfg.Only); err != nil {
		return nil, err
	}
	if cfg.Repetitions > 0 {
		e.Config[configAsked] = cfg.Repetitions
	}
	if err := e.findPeers(ctx, cfg.Peers); err != nil {
		return nil, err
	}
	mixed, err := e.mixed(cfg.Dyno, opt.Child)
	if err != nil {
		return nil, err
	}
	if e.needsDyno() {
		if err := checkDyno(cfg.Dyno); err != nil {
			return nil, err
		}
		opt.source = record.SourceOf(cfg.Dyno[0]) // the brokers are measured, not this program
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
	led, err := openLedger(opt.Results, &e, &l.env, opt.source, order)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, led.close()) }()
	l.recall(led)
	if mixed != "" {
		l.caution(mixed)
	}
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
	e.Targets = slices.DeleteFunc(e.Targets, func(g Goal) bool { return !kept[g.Arm] || !g.bound() && !kept[g.Against] })
	e.Config["only"] = strings.Join(only, ",")
	return nil
}

// needsPeers says whether any cell is done by dyno-peers.
func (e *Experiment) needsPeers() bool {
	return slices.ContainsFunc(e.Cells, func(c Cell) bool {
		return c.NeedsPeers || c.Jobs != nil && slices.ContainsFunc(c.Jobs("", 0), func(t Task) bool { return t.Peers })
	})
}

// needsDyno says whether any cell starts a dyno.
func (e *Experiment) needsDyno() bool {
	return slices.ContainsFunc(e.Cells, func(c Cell) bool { return c.NeedsDyno })
}

// mixed says which families measure this program although another dyno was asked for;
// "" if none do. Error: ErrUsage if no arm would start that other one.
func (e *Experiment) mixed(dyno, child []string) (string, error) {
	if len(dyno) == 0 || len(child) == 0 || samePath(dyno[0], child[0]) {
		return "", nil
	}
	if !e.needsDyno() {
		return "", fmt.Errorf("%w: no arm of this experiment starts a dyno: leave out --dyno, and use that dyno's own `experiment`", ErrUsage)
	}
	var own []string
	for _, c := range e.Cells {
		if family, _, _ := strings.Cut(c.Arm, "/"); !c.NeedsDyno && !c.NeedsPeers && !slices.Contains(own, family) {
			own = append(own, family)
		}
	}
	if len(own) == 0 {
		return "", nil
	}
	return fmt.Sprintf("the arms %s measured the dyno that ran the experiment, not the one of --dyno", strings.Join(own, ", ")), nil
}

// samePath says whether two paths name the same file; paths of no file if they are equal.
func samePath(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	if errA != nil || errB != nil {
		return a == b
	}
	return os.SameFile(x, y)
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
		e.Config[versionOf+name] = version
	}
	return nil
}

// versionOf begins the names under which a result keeps the versions of its peers.
const versionOf = "version_"

// turn is one repetition of one cell.
type turn struct {
	cell   int
	number int
	seed   uint64
}

func (t turn) name(c *Cell) string { return fmt.Sprintf("%s, repetition %d", c.Arm, t.number) }

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
	turns := e.first(seed)
	for n := 1; n <= most; n++ {
		r.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
		for _, block := range blocks {
			r.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
			for _, i := range block {
				if n <= e.Cells[i].Repetitions && !e.Cells[i].First {
					turns = append(turns, turn{i, n, seed + uint64(n) - 1})
				}
			}
		}
	}
	return turns
}

// first are the turns of cells that others need, repetition by repetition.
func (e *Experiment) first(seed uint64) []turn {
	var turns []turn
	for n := 1; n <= repetitionsMax; n++ {
		for i, c := range e.Cells {
			if c.First && n <= c.Repetitions {
				turns = append(turns, turn{i, n, seed + uint64(n) - 1})
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
		name := t.name(c)
		begun := time.Now()
		if err := x.lab.between(ctx, name); err != nil {
			return x.interrupted(err, len(order))
		}
		if err := requireFree(x.lab.work.path, x.DiskNeed); err != nil {
			return x.interrupted(err, len(order))
		}
		rep, err := x.measure(ctx, c, t)
		if err != nil {
			return x.interrupted(fmt.Errorf("%s: %w", name, err), len(order))
		}
		rep.Order = i + 1
		if err := x.lab.keep(x.ledger, c.Arm, rep, x.phase); err != nil {
			return x.interrupted(err, len(order))
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
	x.phase = "" // one that fails early has met none
	dir, err := x.lab.work.fresh()
	if err != nil {
		return record.Repetition{}, err
	}
	if c.Measure != nil {
		return x.measureBed(ctx, c, t, dir)
	}
	return x.measureJobs(ctx, c, t, dir)
}
