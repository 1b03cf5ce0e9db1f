package bench

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"dyno/bench/record"
	"dyno/bench/stats"
	"dyno/loadgen"
)

// The arms of the suite `produce`.
const (
	armSaturate = "saturate" // as fast as the cluster takes it
	armHalf     = "half"     // an open loop at half of what saturate reached
)

// SuiteConfig is one run of a suite. The zero value of a field is its default.
type SuiteConfig struct {
	Dyno        []string      // program and leading arguments of dyno; required
	Nodes       int           // brokers: 3
	Partitions  int           // 8
	RecordBytes int           // 1024
	Producers   int           // 2
	Acks        string        // all
	Repetitions int           // of each arm: 3
	Warmup      time.Duration // 2 s
	Window      time.Duration // timed: 5 s
	Seed        uint64        // of the first repetition: 1
	Profile     bool          // add a profiled repetition that is never quoted
}

func (c *SuiteConfig) setDefaults() {
	c.Nodes = cmp.Or(c.Nodes, 3)
	c.Partitions = cmp.Or(c.Partitions, 8)
	c.RecordBytes = cmp.Or(c.RecordBytes, 1024)
	c.Producers = cmp.Or(c.Producers, suiteProducers)
	c.Acks = cmp.Or(c.Acks, "all")
	c.Repetitions = cmp.Or(c.Repetitions, 3)
	c.Warmup = cmp.Or(c.Warmup, 2*time.Second)
	c.Window = cmp.Or(c.Window, 5*time.Second)
	c.Seed = cmp.Or(c.Seed, 1)
}

func (c *SuiteConfig) validate() error {
	if _, err := loadgen.ParseAcks(c.Acks); err != nil {
		return fmt.Errorf("%w: %v", ErrUsage, err)
	}
	switch {
	case c.Nodes < 1 || c.Nodes > portStep:
		return fmt.Errorf("%w: %d nodes: want 1 to %d", ErrUsage, c.Nodes, portStep)
	case c.Producers < 1 || c.Producers > suiteProducersMax:
		return fmt.Errorf("%w: %d producers: want 1 to %d", ErrUsage, c.Producers, suiteProducersMax)
	case c.Repetitions < 1 || c.Repetitions > 100:
		return fmt.Errorf("%w: %d repetitions: want 1 to 100", ErrUsage, c.Repetitions)
	case c.Window < windowMin:
		return fmt.Errorf("%w: a window of %v: want at least %v", ErrUsage, c.Window, windowMin)
	case c.RecordBytes < 64 || c.RecordBytes > 1<<20:
		return fmt.Errorf("%w: records of %d bytes: want 64 to 1048576", ErrUsage, c.RecordBytes)
	}
	return checkDyno(c.Dyno)
}

// checkDyno says whether there is a dyno to start. Error: ErrUsage.
func checkDyno(dyno []string) error {
	if len(dyno) == 0 {
		return fmt.Errorf("%w: no dyno program to measure", ErrUsage)
	}
	if info, err := os.Stat(dyno[0]); err != nil || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%w: %s is missing or not a program: run `make build`", ErrUsage, dyno[0])
	}
	return nil
}

// suiteProducers is how many there are unless somebody asks for others.
const suiteProducers = 2

// suiteProducersMax is what the generator takes.
const suiteProducersMax = 1024

// windowMin lets at least two progress reports, a second apart, fall into a window.
const windowMin = 2500 * time.Millisecond

// described is the effective configuration as results print it.
func (c *SuiteConfig) described() map[string]any {
	return map[string]any{
		"nodes": c.Nodes, "partitions": c.Partitions, "rf": c.rf(), "record_bytes": c.RecordBytes,
		"producers": c.Producers, "acks": c.Acks, "repetitions": c.Repetitions,
		"warmup_s": c.Warmup.Seconds(), "window_s": c.Window.Seconds(),
		"linger_ms": 0, "compression": "none", "inflight": 5, "sticky_bytes": loadgen.StickyBytes, "fsync": true,
	}
}

// params tell an arm from that of another configuration. The usual number of producers
// stands in none: results from before there was a choice have no word of it.
func (c *SuiteConfig) params() map[string]string {
	p := map[string]string{"nodes": fmt.Sprint(c.Nodes), "size": fmt.Sprint(c.RecordBytes), "partitions": fmt.Sprint(c.Partitions), "acks": c.Acks}
	if c.Producers != suiteProducers {
		p["producers"] = fmt.Sprint(c.Producers)
	}
	return p
}

func (c *SuiteConfig) rf() int { return min(c.Nodes, 3) }

// suite is a run of SuiteConfig in progress. One goroutine owns it.
type suite struct {
	cfg     *SuiteConfig
	lab     *lab
	http    *http.Client
	reached []float64 // records/s of the good saturating repetitions
	power   float64   // the generator's own capacity, from its last probe
	phase   string    // of the WAL in the last repetition; "" where the broker does not tell
}

// plan lists the repetitions in the order they run: all saturating ones first,
// because every repetition of half offers half of their median, one rate. The
// arms are not compared with each other, so drift between them does no harm.
func (c *SuiteConfig) plan() []step {
	var steps []step
	for _, arm := range []string{armSaturate, armHalf} {
		for n := 1; n <= c.Repetitions; n++ {
			steps = append(steps, step{arm: arm, number: n, seed: c.Seed + uint64(n-1)})
		}
	}
	return steps
}

// measure runs one repetition with fresh brokers, a fresh generator and a fresh
// directory. files is where the generator leaves its histograms.
func (s *suite) measure(ctx context.Context, st step, files string) (record.Repetition, error) {
	s.phase = "" // one that fails early has met none
	rep := record.Repetition{Number: st.number, Seed: st.seed, Status: record.OK, Values: map[string]float64{}}
	rate := 0.0
	if st.arm == armHalf {
		if len(s.reached) == 0 {
			rep.Status, rep.Problem = record.Invalid, "no saturating repetition was good, so half of it is not known"
			return rep, nil
		}
		rate = stats.Median(s.reached) / 2
	}
	dir, err := s.lab.work.fresh()
	if err != nil {
		return rep, err
	}
	t := s.trial(st, dir, rate, files)
	m, err := t.run(ctx)
	if err != nil {
		return rep, blameDisk(dir, err)
	}
	if err := t.judge(&rep, m); err != nil {
		return rep, err
	}
	s.learn(&rep, m, rate)
	return rep, s.lab.work.settle(dir)
}

// trial is the load of one repetition, saturating where rate is 0.
func (s *suite) trial(st step, dir string, rate float64, files string) *trial {
	t := &trial{lab: s.lab, http: s.http, dyno: s.cfg.Dyno, name: st.name(), nodes: s.cfg.Nodes, dir: dir, spec: loadSpec{
		Partitions: s.cfg.Partitions, RF: s.cfg.rf(), Acks: s.cfg.Acks, SizeBytes: s.cfg.RecordBytes, Rate: rate,
		Producers: s.cfg.Producers, Warmup: s.cfg.Warmup, Window: s.cfg.Window, Seed: st.seed, Out: files,
	}}
	if rate > 0 {
		t.spec.Capacity = s.power // same shape, probed a minute ago
	}
	return t
}

// learn keeps what later repetitions need to know of this one.
func (s *suite) learn(rep *record.Repetition, m measured, rate float64) {
	s.phase = m.watch.phase()
	if c := m.load.Detail.Capacity; c > 0 {
		s.power = c
	}
	if rate == 0 && rep.Status == record.OK {
		s.reached = append(s.reached, m.load.Report.MsgsPerS)
	}
}

// step is one planned repetition.
type step struct {
	arm    string
	number int
	seed   uint64
}

func (st step) name() string { return fmt.Sprintf("%s %d", st.arm, st.number) }

// repsDir is where a result keeps the files of each repetition.
const repsDir = "reps"

// dir is where a repetition keeps its files below root.
func (st step) dir(root string) string {
	return filepath.Join(root, fmt.Sprintf("%s-%d", st.arm, st.number))
}
