package micro

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
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
	// Scale divides the numbers of records; 0 means 1. A run that is scaled down
	// shows that it works, and nothing else.
	Scale int `json:"scale"`
}

// Result is what a run measured, by name.
type Result struct {
	Values map[string]float64 `json:"values"`
}

// The sizes of a run, before Scale.
const (
	recordBytes     = 1 << 10
	batchRecords    = 16
	batchesMade     = 256 // different ones, used in turn
	decodeRecords   = 1_000_000
	appendRecords   = 24_000
	appenders       = 64
	produceRecords  = 40_000
	produceInflight = 5
	fetchPasses     = 6
)

// Work is the work of a child process. Before what is measured it reports nothing
// but an empty progress, so that the parent can look at the process.
func Work(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("micro: %w", err)
	}
	r := &run{spec: spec, batches: batchesOf(spec.Seed), values: map[string]float64{}}
	if err := s.Report(struct{}{}); err != nil {
		return nil, err
	}
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) error{r.decode, r.append, r.node} {
		if err := part(ctx); err != nil {
			return nil, fmt.Errorf("micro: %w", err)
		}
	}
	return Result{r.values}, nil
}

type run struct {
	spec    Spec
	batches [][]byte
	values  map[string]float64
}

// scaled is a number of records in whole batches, at least one round of them.
func (r *run) scaled(records int) int {
	return max(1, records/batchRecords/max(1, r.spec.Scale)) * batchRecords
}

// meter takes what a stretch of work cost.
type meter struct {
	began time.Time
	cpu   time.Duration
}

// begin starts a stretch on a heap that holds nothing of the one before.
func begin() meter {
	runtime.GC()
	return meter{time.Now(), cpuTime()}
}

// end books a stretch under name: CPU per million records, and records per second.
func (m meter) end(r *run, name string, records int) {
	cpu, wall := cpuTime()-m.cpu, time.Since(m.began)
	r.values[name+"_cpu"] = cpu.Seconds() / float64(records) * 1e6
	r.values[name+"_rate"] = float64(records) / wall.Seconds()
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
func (r *run) decode(ctx context.Context) error {
	total := r.scaled(decodeRecords)
	m := begin()
	for done := 0; done < total; done += batchRecords {
		info, err := partition.ParseBatch(r.batches[done/batchRecords%len(r.batches)])
		if err != nil || info.Records != batchRecords {
			return fmt.Errorf("decode: %d records, %w", info.Records, err)
		}
		if done%(1<<18) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	m.end(r, "decode", total)
	return nil
}

// append has many goroutines make records durable in the log, each one at a time.
func (r *run) append(ctx context.Context) error {
	each := max(1, appendRecords/appenders/max(1, r.spec.Scale))
	total := each * appenders
	log, err := cell.WAL.Open(ctx, filepath.Join(r.spec.Dir, "log"), 1, int64(total*recordBytes))
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	errs := make([]error, appenders)
	var wg sync.WaitGroup
	m := begin()
	for a := range appenders {
		wg.Go(func() {
			record := [][]byte{r.batches[a][:recordBytes]}
			for range each {
				if errs[a] = log.Append(0, record); errs[a] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	m.end(r, "append", total)
	for _, e := range errs {
		if err == nil {
			err = e
		}
	}
	if cerr := log.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
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
