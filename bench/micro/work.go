package micro

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"dyno/bench/cell"
	"dyno/engine/partition"
)

// Spec asks for one run.
type Spec struct {
	Dir  string `json:"dir"` // empty
	Seed uint64 `json:"seed"`
	// Scale divides the number of rounds; 0 means 1. A run that is scaled down shows
	// that it works, and nothing else.
	Scale int `json:"scale"`
}

// Result is what a run measured, by name. Began and Seconds are those of its rounds,
// from the first to the last, with the waits in between.
type Result struct {
	Began   time.Time          `json:"began"`
	Seconds float64            `json:"seconds"`
	Values  map[string]float64 `json:"values"`
	// Work is what a round does, in words: figures of another work are of another thing.
	Work string `json:"work"`
}

// The sizes of a run. A round takes some 10 ms; the first is not booked.
const (
	rounds  = 80
	trimmed = 0.1 // of the rounds, at either end, that a figure leaves out

	recordBytes     = 1 << 10
	batchRecords    = 16
	batchesMade     = 256 // different ones, used in turn
	decodeRecords   = 8_000
	appendRecords   = 256
	appenders       = 64
	produceRecords  = 400
	produceInflight = 5
	fetchPasses     = 12
)

// Work is the work of a child process. Before what is measured it reports nothing
// but an empty progress, so that the parent can look at the process. It awaits its
// turn before each round.
func Work(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("micro: %w", err)
	}
	if err := s.Report(struct{}{}); err != nil {
		return nil, err
	}
	r := &run{spec: spec, batches: batchesOf(spec.Seed), costs: map[string][]cost{}}
	res, err := r.all(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("micro: %w", err)
	}
	return res, nil
}

type run struct {
	spec    Spec
	batches [][]byte
	costs   map[string][]cost // by part, of the rounds that are booked
}

func (r *run) rounds() int { return max(1, rounds/max(1, r.spec.Scale)) }

// all prepares the parts and does the rounds.
func (r *run) all(ctx context.Context, s *cell.Session) (res *Result, err error) {
	log, err := cell.WAL.Open(ctx, filepath.Join(r.spec.Dir, "log"), 1, int64((1+r.rounds())*appendRecords*recordBytes))
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	n, err := r.openNode(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	parts := []part{
		{"decode", decodeRecords, r.decode},
		{"fetch", fetchPasses * produceRecords, n.fetch},
		{"append", appendRecords, func() error { return r.append(log) }},
		{"produce", produceRecords, n.produce}, // last: what it leaves to do is booked on nothing
	}
	runtime.GC() // what was prepared is not booked
	res = &Result{Work: workOf(parts)}
	for i := range 1 + r.rounds() {
		if err := s.Await(ctx); err != nil {
			return nil, err
		}
		if i == 0 {
			res.Began = time.Now()
		}
		if err := r.round(parts, i > 0); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	res.Seconds, res.Values = time.Since(res.Began).Seconds(), r.values()
	return res, nil
}

// workOf names the parts in their order, with their sizes. Version is raised when a
// part does something else with as many records.
func workOf(parts []part) string {
	const version = 2
	text := fmt.Sprintf("version %d, %d rounds (%.0f %% at either end left out) of", version, rounds, 100*trimmed)
	for i, p := range parts {
		text += fmt.Sprintf("%s %s %d", []string{"", ","}[min(i, 1)], p.name, p.records)
	}
	return text + fmt.Sprintf(" records of %d B, %d a batch, %d requests in flight, %d appending", recordBytes, batchRecords, produceInflight, appenders)
}

// part is a stretch of work of a round.
type part struct {
	name    string
	records int
	do      func() error
}

// cost is what a part took in one round.
type cost struct {
	records   int
	cpu, wall time.Duration
}

func (r *run) round(parts []part, booked bool) error {
	for _, p := range parts {
		began, cpu := time.Now(), cpuTime()
		if err := p.do(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if booked {
			r.costs[p.name] = append(r.costs[p.name], cost{p.records, cpuTime() - cpu, time.Since(began)})
		}
	}
	return nil
}

// values are the CPU seconds per million records, and the records per second.
func (r *run) values() map[string]float64 {
	values := map[string]float64{}
	for name, costs := range r.costs {
		values[name+"_cpu"] = 1e6 * middle(costs, func(c cost) float64 { return c.cpu.Seconds() / float64(c.records) })
		values[name+"_rate"] = 1 / middle(costs, func(c cost) float64 { return c.wall.Seconds() / float64(c.records) })
	}
	return values
}

// middle is the mean of a figure of the rounds without those trimmed at either end.
// What a hypervisor takes is booked on the round it interrupts, some milliseconds at
// once, and the noise of the mean is mostly that.
func middle(costs []cost, of func(cost) float64) float64 {
	figures := make([]float64, len(costs))
	for i, c := range costs {
		figures[i] = of(c)
	}
	slices.Sort(figures)
	cut := int(trimmed * float64(len(figures)))
	figures = figures[cut : len(figures)-cut]
	sum := 0.0
	for _, f := range figures {
		sum += f
	}
	return sum / float64(len(figures))
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic("BUG: getrusage: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// decode checks batches as the broker does with what a producer sends.
func (r *run) decode() error {
	for i := range decodeRecords / batchRecords {
		info, err := partition.ParseBatch(r.batches[i%len(r.batches)])
		if err == nil && info.Records != batchRecords {
			err = fmt.Errorf("%w: %d records of %d", cell.ErrVerify, info.Records, batchRecords)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// append has many goroutines make records durable in the log, each one at a time.
func (r *run) append(log cell.Log) error {
	errs := make([]error, appenders)
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			record := [][]byte{r.batches[a][:recordBytes]}
			for range appendRecords / appenders {
				if errs[a] = log.Append(0, record); errs[a] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// batchesOf makes record batches with random payloads.
func batchesOf(seed uint64) [][]byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	source := rand.NewChaCha8(key)
	out := make([][]byte, batchesMade)
	for i := range out {
		out[i] = batchOf(source)
	}
	return out
}
