package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyno/bench/maxrate"
	"dyno/bench/record"
	"dyno/loadgen"
)

const (
	searchName     = "maxrate"
	searchQuestion = "What is the largest rate at which the SLO holds, no record is lost, duplicated, reordered or corrupted, nothing is left behind and the generator is not the bottleneck?"
	searchExpected = "There is such a rate: every lower one holds too and no higher one does. It lies in the interval, whose lower end a longer trial confirms."
)

// MaxrateConfig is one search for the largest rate that keeps an SLO. The zero value
// of a field is its default.
type MaxrateConfig struct {
	SLO    []Bound // required
	Search maxrate.Config

	// Brokers are a cluster that runs already; without them each trial starts Nodes
	// fresh ones (3) of Dyno.
	Brokers []string
	Nodes   int
	Dyno    []string // program and leading arguments

	Topic       string // dyno-maxrate; of a cluster that runs
	Create      bool   // make the topic where it is missing; of a cluster that runs
	Partitions  int    // of a topic that it makes: 8
	RF          int    // 3, or as many as there are Nodes
	Acks        string // all, or 1
	RecordBytes int    // 1024
	Producers   int    // loadgen's default
	TLS         loadgen.TLSConfig
	SASL        loadgen.SASLConfig

	Warmup  time.Duration // before each window: 500 ms
	Trial   time.Duration // window of a short trial: 3 s
	Confirm time.Duration // window of the confirming one: five times Trial
	JSON    bool          // print one object instead of the table

	load rateLoad // of every trial; tests have their own
}

func (c *MaxrateConfig) setDefaults() {
	c.Nodes = cmp.Or(c.Nodes, clusterNodes)
	c.Topic = cmp.Or(c.Topic, "dyno-maxrate")
	c.Partitions = cmp.Or(c.Partitions, clusterParts)
	if len(c.Brokers) == 0 {
		c.Topic, c.Create = loadTopic, true
		c.RF = cmp.Or(c.RF, min(c.Nodes, clusterNodes))
	}
	c.RF = cmp.Or(c.RF, clusterNodes)
	c.Acks = cmp.Or(c.Acks, "all")
	c.RecordBytes = cmp.Or(c.RecordBytes, kib)
	c.Warmup = cmp.Or(c.Warmup, 500*time.Millisecond)
	c.Trial = cmp.Or(c.Trial, 3*time.Second)
	c.Confirm = cmp.Or(c.Confirm, 5*c.Trial)
	c.Search.Seed = cmp.Or(c.Search.Seed, 1)
}

// searchTrialMin is the shortest window of a trial: a p99 wants some hundreds of
// records even at low rates.
const searchTrialMin = 500 * time.Millisecond

func (c *MaxrateConfig) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
	}
	switch acks, err := loadgen.ParseAcks(c.Acks); {
	case err != nil:
		return bad("%v", err)
	case acks == loadgen.AcksNone:
		return bad("acks 0: nobody answers, so there is no response to bound")
	case len(c.SLO) == 0:
		return bad("no SLO: give at least one, such as p99=10ms")
	case c.Trial < searchTrialMin || c.Confirm < c.Trial:
		return bad("trials of %v and %v: want at least %v, and the confirming one no shorter than the others", c.Trial, c.Confirm, searchTrialMin)
	case c.RecordBytes < 64 || c.RecordBytes > mib:
		return bad("records of %d bytes: want 64 to %d", c.RecordBytes, mib)
	case c.Nodes < 1 || c.Nodes > portStep:
		return bad("%d nodes: want 1 to %d", c.Nodes, portStep)
	case len(c.Brokers) == 0:
		return checkDyno(c.Dyno)
	}
	return nil
}

// described is the effective configuration as results print it. A cluster that runs
// and its topic are told apart by checksums: their names are nobody's business. What
// that topic has of partitions and replicas is its own, unless the search may make it.
func (c *MaxrateConfig) described() map[string]any {
	m := map[string]any{"slo": sloText(c.SLO), "bad": c.Search.Bad, "width": c.Search.Width, "start": c.Search.Start, "lowest": c.Search.Lowest,
		"highest": c.Search.Highest, "trials_max": c.Search.TrialsMax, "seed": c.Search.Seed, "partitions": c.Partitions, "rf": c.RF, "acks": c.Acks,
		"record_bytes": c.RecordBytes, "producers": c.Producers, "warmup_s": c.Warmup.Seconds(), "trial_s": c.Trial.Seconds(),
		"confirm_s": c.Confirm.Seconds(), "linger_ms": 0, "compression": "none", "inflight": 5, "sticky_bytes": loadgen.StickyBytes}
	if len(c.Brokers) == 0 {
		m["nodes"], m["fsync"] = c.Nodes, true
		return m
	}
	brokers := slices.Sorted(slices.Values(c.Brokers))
	m["brokers"], m["cluster"] = len(brokers), checksum(strings.Join(brokers, ","))
	m["topic"], m["create"] = checksum(c.Topic), c.Create
	if !c.Create {
		delete(m, "partitions")
		delete(m, "rf")
	}
	return m
}

// checksum tells a name from others without telling it.
func checksum(name string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(name))) }

// spec is the load of every trial.
func (c *MaxrateConfig) spec() loadSpec {
	return loadSpec{Brokers: c.Brokers, Topic: c.Topic, Existing: !c.Create, Partitions: c.Partitions, RF: c.RF, Acks: c.Acks,
		SizeBytes: c.RecordBytes, Producers: c.Producers, Warmup: c.Warmup, Window: c.Trial, Seed: c.Search.Seed, TLS: c.TLS, SASL: c.SASL}
}

// RunMaxrate searches for the largest rate at which the SLO holds, prints the
// interval with every trial, and writes a result. It blocks until everything that it
// started has ended, and goes on where an interrupted search of the same
// configuration stopped. The run is returned also where it is no answer. Errors:
// ErrUsage, ErrBusy, ErrNoSpace, ErrStart, ErrViolation; ErrInvalid where no rate was
// confirmed or the generator was the limit.
func RunMaxrate(ctx context.Context, opt Options, cfg MaxrateConfig) (_ *record.Run, err error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	plan, err := maxrate.New(cfg.Search)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUsage, err)
	}
	cfg.Search = plan.Config()
	need := int64(0)
	if len(cfg.Brokers) == 0 {
		opt.source = record.SourceOf(cfg.Dyno[0])
		need = cfg.diskNeed(cfg.Search.Start)
	}
	l, err := openLab(ctx, &opt, need, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	e := &Experiment{Name: searchName, Config: cfg.described()}
	led, err := openLedger(opt.Results, e, &l.env, opt.source, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, led.close()) }()
	l.recall(led)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := &search{cfg: &cfg, lab: l, ledger: led, rateSearch: &rateSearch{plan: plan, slo: cfg.SLO, spec: cfg.spec(), long: cfg.Confirm, load: l.external}}
	switch {
	case cfg.load != nil:
		s.load = cfg.load
	case len(cfg.Brokers) == 0:
		s.load = (&bed{lab: l, http: &http.Client{Transport: transport}, dyno: cfg.Dyno}).embedded(cfg.Nodes)
	}
	if err := s.all(ctx); err != nil {
		return nil, err
	}
	return s.publish(e.Config)
}

// diskNeed is what brokers of ours may have on the disk after the longest trial at a
// rate: every replica writes its log and may move it once.
func (c *MaxrateConfig) diskNeed(rate float64) int64 {
	const copies, spare = 2, 1 << 30
	return int64(rate*float64(c.RecordBytes)*(c.Warmup+c.Confirm).Seconds())*int64(c.RF)*copies + spare
}

// search is a run of MaxrateConfig in progress. One goroutine owns it.
type search struct {
	*rateSearch
	cfg    *MaxrateConfig
	lab    *lab
	ledger *ledger
}

// all makes the trials that the ledger does not have. After a broken promise no rate is
// asked for any more.
func (s *search) all(ctx context.Context) error {
	kept := s.kept()
	for {
		t, more := s.plan.Next()
		if !more {
			return nil
		}
		if old, ok := kept[len(s.trials)+1]; ok && old.Trial == t {
			s.take(old)
			s.lab.progress.skip()
			if old.rep.Status == record.Failed {
				return nil
			}
			continue
		}
		kept = nil // what an older plan did after this was another search
		begun := time.Now()
		s.expect()
		made, err := s.one(ctx, t)
		if err != nil {
			return s.interrupted(fmt.Errorf("%s: %w", made.arm(), err))
		}
		s.take(made)
		if err := s.lab.keep(s.ledger, fmt.Sprintf("%s#%d", made.arm(), made.rep.Order), made.rep, made.why); err != nil {
			return s.interrupted(err)
		}
		s.lab.progress.step(time.Since(begun))
		if made.rep.Status == record.Failed {
			return nil
		}
	}
}

// interrupted tells what is kept.
func (s *search) interrupted(err error) error {
	return &Interrupted{Kept: s.ledger.kept(), Of: s.lab.progress.total, Err: err}
}

// one makes a trial, on a machine that is quiet or is said not to be.
func (s *search) one(ctx context.Context, t maxrate.Trial) (rateTrial, error) {
	if len(s.cfg.Brokers) == 0 {
		if err := requireFree(s.lab.work.path, s.cfg.diskNeed(t.Rate)); err != nil {
			return rateTrial{Trial: t}, err
		}
	}
	if err := s.lab.between(ctx, string(t.Phase)); err != nil {
		return rateTrial{Trial: t}, err
	}
	return s.try(ctx, t)
}

// expect sets the number of steps for progress: a long trial counts as so many short ones.
func (s *search) expect() {
	short, long := s.plan.Left()
	s.lab.progress.total = s.lab.progress.done + max(short+long*int(s.cfg.Confirm/s.cfg.Trial), 1)
}

// kept gives the trials of an interrupted search by their place in it: the ledger has
// each under a name of its own, with what made it bad.
func (s *search) kept() map[int]rateTrial {
	out := map[int]rateTrial{}
	for name, reps := range s.ledger.arms {
		arm, _, _ := strings.Cut(name, "#")
		phase, word, _ := strings.Cut(arm, "/")
		rate, err := strconv.ParseFloat(word, 64)
		if err != nil || len(reps) != 1 {
			continue // not of a search
		}
		t := rateTrial{Trial: maxrate.Trial{Phase: maxrate.Phase(phase), Rate: rate}, rep: reps[0]}
		t.good, t.generator = t.rep.Values[valueHeld] == 1, t.rep.Values[valueGenerator] == 1
		if why := s.ledger.phases[name]; len(why) > 0 {
			t.why = why[0]
		}
		out[t.rep.Order] = t
	}
	return out
}
