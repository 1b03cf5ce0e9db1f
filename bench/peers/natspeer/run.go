package natspeer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"dyno/loadgen"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Run measures one load and blocks until everything it started has ended and,
// without Config.Keep, everything it made on the disk is gone. ready, if set, is
// called between the preparation and the first message and may block. A
// violation is not an error: see Result.Violation. Errors: ErrUsage, ErrStart,
// ErrServerEnded, ErrNothingAcked, ctx's cause, ready's own.
func Run(ctx context.Context, cfg Config, ready func(context.Context) error) (res *Result, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.made, err = makeDir(cfg.Dir); err != nil {
		return nil, err
	}
	if !cfg.Keep {
		defer func() { err = errors.Join(err, clearDir(cfg.Dir, cfg.made)) }()
	}
	tell(&cfg, "start")
	c, err := startCluster(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	s := &session{cfg: &cfg, cluster: c}
	err = c.whileUp(ctx, func(ctx context.Context) error { return s.run(ctx, ready) })
	grace := stopGrace
	if err != nil && !cfg.Keep { // somebody waits for us to be gone, and the data go too
		grace = 0
	}
	if stopErr := c.stop(grace); err == nil {
		err = stopErr
	}
	if err != nil {
		return nil, err
	}
	return s.result(), nil
}

// session is one run on a cluster that is up.
type session struct {
	cfg          *Config
	cluster      *cluster
	leaders      []int // server by stream
	load         *load
	verification Verification
}

func (s *session) run(ctx context.Context, ready func(context.Context) error) error {
	control, err := s.cluster.dial(0, "control")
	if err != nil {
		return err
	}
	defer control.Close()
	js, err := jetstream.New(control)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	names := subjects(s.cfg.Streams)
	if s.leaders, err = makeStreams(ctx, js, names); err != nil {
		return err
	}
	s.load = newLoad(s.cfg, names)
	s.load.sample = s.sample
	defer s.load.close()
	if err := s.load.connect(s.cluster, s.serverOf); err != nil {
		return err
	}
	if ready != nil {
		if err := ready(ctx); err != nil {
			return err
		}
	}
	if err := s.load.drive(ctx); err != nil {
		return err
	}
	if total := s.load.tally.total; total.inWindow == 0 {
		return fmt.Errorf("%w in the timed window: %d sent; errors: %v", ErrNothingAcked, s.load.sent(), s.load.f.errs.snapshot())
	}
	s.verification, err = verify(ctx, s.load, js)
	return err
}

// serverOf says which server a publisher connects to.
func (s *session) serverOf(p *publisher) int {
	if s.cfg.Connect == ConnectSpread {
		return p.id % serverCount
	}
	return s.leaders[p.streams[0]]
}

func (s *session) sample() (sample, error) {
	client, err := clientCPU()
	if err != nil {
		return sample{}, err
	}
	servers, err := s.cluster.use()
	return sample{client: client, servers: servers}, err
}

// result puts the report together.
func (s *session) result() *Result {
	l, total := s.load, s.load.tally.total
	r := &Result{Mode: s.cfg.mode(), Sync: s.cfg.Sync.words(), ServerVersion: s.cluster.ready[0].Version, ClientVersion: nats.Version,
		Censored: total.censored, Errors: l.f.errs.snapshot(), Verification: s.verification, Config: *s.cfg}
	r.Schema, r.Config.Dir = JSONSchema, "" // a result names no place of this machine
	r.Sent, r.Acked, r.Failed, r.Unknown = l.sent(), total.acked, total.failed, total.unknown
	r.Response, r.Service, r.Delay = quantiles(total.response), quantiles(total.service), quantiles(total.delay)
	if s.cfg.Rate == 0 { // no schedule: intended is sent
		r.Service = r.Response
	}
	r.ClientCPUS = l.end.client - l.warm.client
	r.Window = l.tally.lastAnswer() - s.cfg.Warmup
	r.MsgsPerS = float64(total.inWindow) / r.Window.Seconds()
	r.BytesPerS = r.MsgsPerS * float64(s.cfg.SizeBytes)
	if v := &s.verification; v.Mode == VerifyRead {
		r.Consumed, r.Lost, r.Duplicated, r.Reordered, r.Corrupted = &v.Read, &v.Lost, &v.Duplicated, &v.Reordered, &v.Corrupted
	}
	r.Violation = s.verification.violation(r.Acked)
	var sum lag
	for _, p := range l.publishers {
		r.Backpressure += p.full.Load()
		sum.add(&p.lag)
	}
	r.Unsent, r.Late = sum.unsent, sum.late
	r.Saturated, r.Why = s.cfg.bottleneck(&sum, r.Sent)
	s.use(r)
	return r
}

// use fills in what each server used.
func (s *session) use(r *Result) {
	from, to := s.load.warm.servers, s.load.end.servers
	for i, p := range s.cluster.nodes {
		u := ServerUse{Name: p.name, PID: p.cmd.Process.Pid, RSSBytes: to[i].rss, DiskBytes: -1}
		u.CPUSeconds = math.Round(100*(to[i].cpu-from[i].cpu)) / 100 // the kernel counts ticks of 10 ms
		if from[i].disk >= 0 && to[i].disk >= 0 {
			u.DiskBytes = to[i].disk - from[i].disk
		}
		for _, leader := range s.leaders {
			if leader == i {
				u.Leads++
			}
		}
		r.Servers = append(r.Servers, u)
	}
}

// words says what a policy means.
func (s Sync) words() string {
	if s == SyncAlways {
		return "always"
	}
	return "every 2m0s, in the background (as shipped)"
}

func (l *lag) add(o *lag) {
	l.late += o.late
	l.lateFor += o.lateFor
	l.blocked += o.blocked
	l.unsent += o.unsent
}

const (
	blockedShareMin = 0.5  // of a saturating publisher's time, for the servers to be the limit
	lateShareMax    = 0.05 // of the messages, for an open loop to count as behind
)

// tell reports a phase that has no figures.
func tell(cfg *Config, phase string) {
	if cfg.Progress != nil {
		cfg.Progress(loadgen.Progress{Phase: phase})
	}
}

// bottleneck names what limited the run, by dyno's rules without its probe of
// the generator: a publisher that waits for answers most of the time is limited
// by the servers, one that has free slots and still does not send more limits
// itself. They share the machine's cores, so neither is ever idle.
func (c *Config) bottleneck(sum *lag, sent int64) (loadgen.Bottleneck, string) {
	switch c.mode() {
	case "closed":
		return loadgen.BottleneckNone, ""
	case "saturating":
		share := float64(sum.blocked) / float64(int64(c.Warmup+c.Window)*int64(c.Publishers))
		why := fmt.Sprintf("saturating; the publishers waited for answers %.0f %% of the time", 100*share)
		if share < blockedShareMin {
			return loadgen.BottleneckGenerator, why
		}
		return loadgen.BottleneckCluster, why
	}
	if sum.unsent == 0 && float64(sum.late) <= lateShareMax*float64(sent) {
		return loadgen.BottleneckNone, ""
	}
	why := fmt.Sprintf("%d scheduled messages were never sent, %d of %d were sent over 10 ms late", sum.unsent, sum.late, sent)
	if 2*sum.blocked < sum.lateFor {
		return loadgen.BottleneckGenerator, why + "; there were free slots most of that time"
	}
	return loadgen.BottleneckCluster, why
}
