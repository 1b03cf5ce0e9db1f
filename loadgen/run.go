package loadgen

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const readStallMin = 10 * time.Second

// session is one Run, Read or Reread in progress.
type session struct {
	cfg        Config
	security   []kgo.Opt
	cluster    *cluster
	partitions int
	capacity   float64
	load       *load

	first []int64   // end offsets before the first record; of a Read where the partitions begin
	warm  mark      // as the timed window began
	final []int64   // end offsets after the last answer
	ended time.Time // when the last record of the window was confirmed
	cpu   float64   // s, over the timed window
	io    float64   // share of the window tasks waited for a disk; -1: unknown
}

// mark is the state of the world as the timed window begins.
type mark struct {
	ends []int64
	at   time.Time
	cpu  float64
	io   int64
	err  error
}

// Run loads the cluster as cfg says and blocks until the load is drained and, with cfg.Verify, read back. When ctx ends early it
// stops sending, settles what was sent and returns the partial result together with ErrInterrupted. Errors: ErrUsage,
// ErrUnreachable, ErrNothingAcked, ErrIncomplete, ErrInterrupted; the result is nil unless ErrInterrupted, or where all that failed
// is the deletion of the topic. A violation is not an error: see Result.Violation.
func Run(ctx context.Context, cfg Config) (_ *Result, err error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, io: -1}
	defer s.close()
	defer func() {
		if gone := s.unmake(ctx); gone != nil {
			err = errors.Join(err, gone)
		}
	}()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.probe(ctx); err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	v, err := s.verify(ctx)
	if err != nil {
		return nil, err
	}
	r := s.result(v)
	if ctx.Err() != nil {
		r.Detail.Interrupted = true
		return r, ErrInterrupted
	}
	return r, nil
}

// unmake deletes the topic where this run made it and is to; also when ctx has ended.
func (s *session) unmake(ctx context.Context) error {
	if !s.cfg.Delete || s.cluster == nil || !s.cluster.made {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ConnectTimeout)
	defer cancel()
	return s.cluster.remove(ctx)
}

func (s *session) close() {
	if s.load != nil {
		s.load.close()
	}
	if s.cluster != nil {
		s.cluster.close()
	}
}

// open reaches the cluster and prepares the topic.
func (s *session) open(ctx context.Context) error {
	var err error
	if s.security, err = securityOpts(&s.cfg); err != nil {
		return err
	}
	if err := dialAny(ctx, s.cfg.Brokers, s.cfg.ConnectTimeout); err != nil {
		return err
	}
	if s.cluster, err = newCluster(&s.cfg, s.security); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	s.partitions, err = s.cluster.prepare(ctx, &s.cfg)
	return err
}

// probe measures the generator's own capacity.
func (s *session) probe(ctx context.Context) error {
	s.capacity = s.cfg.Capacity
	if s.capacity > 0 || s.cfg.ProbeDuration < 0 {
		return nil
	}
	if s.cfg.Progress != nil {
		s.cfg.Progress(Progress{Phase: "probe", Of: s.cfg.ProbeDuration})
	}
	var err error
	s.capacity, err = probeCapacity(ctx, &s.cfg, s.partitions)
	return err
}

// run drives the load and takes the offsets before and after.
func (s *session) run(ctx context.Context) error {
	l, err := newLoad(&s.cfg, s.security, s.partitions)
	if err != nil {
		return err
	}
	s.load = l
	connect, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	if err := l.connect(connect); err != nil {
		return err
	}
	if s.first, err = s.cluster.endOffsets(connect, s.partitions); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	l.from = s.first
	l.markWarm = func() { s.warm = s.takeMark(nil) }
	l.ends = func(ctx context.Context) ([]int64, error) { return s.cluster.endOffsets(ctx, s.partitions) }
	if s.cfg.Warmup == 0 {
		s.warm = s.takeMark(s.first)
	}
	if err := l.drive(ctx); err != nil {
		return err
	}
	return s.settle()
}

// takeMark notes the state at the start of the timed window; ends, if known, saves asking the cluster. The time of the offsets is
// the middle of the request that listed them.
func (s *session) takeMark(ends []int64) (m mark) {
	m.cpu, m.err = cpuSeconds()
	m.io, _ = ioStalled()
	m.ends, m.at = ends, time.Now()
	if ends != nil || m.err != nil {
		return m
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ConnectTimeout)
	defer cancel()
	m.ends, m.err = s.cluster.endOffsets(ctx, s.partitions)
	m.at = m.at.Add(time.Since(m.at) / 2)
	return m
}

// settle reads the end offsets after the last answer. An answer at acks 1 and 0 may come before the record shows in the end
// offsets, so it waits until all acknowledged records show or nothing has grown for a second.
func (s *session) settle() error {
	l, sum := s.load, &s.load.tally.sum
	var last int64
	for _, p := range l.producers {
		last = max(last, p.last)
	}
	if last == 0 { // nothing was acknowledged
		last = l.f.clk.now()
	}
	s.ended = l.f.clk.wallAt(last)
	cpu, err := cpuSeconds()
	if err != nil {
		return err
	}
	s.cpu = cpu - s.warm.cpu
	if io, ok := ioStalled(); ok && allLocal(s.cfg.Brokers) {
		s.io = float64(io-s.warm.io) / 1e6 / s.ended.Sub(s.warm.at).Seconds()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	grown := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ends, err := s.cluster.endOffsets(ctx, s.partitions)
		if err != nil {
			return fmt.Errorf("%w: after the run: %w", ErrUnreachable, err)
		}
		if s.final == nil || span(s.final, ends) != 0 {
			grown = time.Now()
			if s.final != nil || s.cfg.Acks == AcksNone {
				s.ended = grown
			}
		}
		s.final = ends
		if span(s.first, ends) >= sum.acked || time.Since(grown) > time.Second {
			break
		}
		<-tick.C
	}
	if sum.acked == 0 && l.sent() > 0 {
		_, msg := l.f.errs.snapshot()
		return fmt.Errorf("%w: %d sent; first error: %s", ErrNothingAcked, l.sent(), msg)
	}
	if s.warm.ends == nil && s.warm.err == nil { // stopped during the warm-up
		s.warm.ends, s.warm.at = s.final, s.ended
	}
	if s.warm.err != nil {
		return fmt.Errorf("%w: at the start of the window: %w", ErrUnreachable, s.warm.err)
	}
	return nil
}

func (l *load) sent() (n int64) {
	for _, p := range l.producers {
		n += p.sent.Load()
	}
	return n
}

// verify reads this run's offsets back.
func (s *session) verify(ctx context.Context) (*Verification, error) {
	if !s.cfg.Verify {
		return nil, nil
	}
	if ctx.Err() != nil { // the load was interrupted; what was sent is still judged
		ctx = context.WithoutCancel(ctx)
	}
	a := &auditor{run: s.load.f.run, made: s.cluster.made}
	for _, p := range s.load.producers {
		a.ledgers = append(a.ledgers, p.ledger)
	}
	// Reading must go on somehow: a stretch of DrainTimeout, but at least readStallMin, without a record is the end of it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := max(s.cfg.DrainTimeout, readStallMin)
	stall := time.AfterFunc(patience, func() { cancel(fmt.Errorf("nothing read for %v", patience)) })
	defer stall.Stop()
	total, begun, told := span(s.first, s.final), time.Now(), time.Now()
	return verify(ctx, &s.cfg, s.security, a, s.first, s.final, func(read int64) {
		stall.Reset(patience)
		if s.cfg.Progress != nil && time.Since(told) > time.Second {
			told = time.Now()
			s.cfg.Progress(Progress{Phase: "verify", Elapsed: time.Since(begun), Sent: total, Acked: read})
		}
	})
}

// result puts the report together.
func (s *session) result(v *Verification) *Result {
	t, cfg := s.load.tally, &s.cfg
	sum := &t.sum
	r := &Result{acks: cfg.Acks, intervals: t.intervals, begun: s.load.begun}
	r.Schema = JSONSchema
	r.Sent, r.Acked, r.Failed, r.Unknown = s.load.sent(), sum.acked, sum.failed, sum.unknown
	for i, h := range t.total {
		if h.TotalCount() > 0 {
			r.hists[i] = h
		}
	}
	if cfg.Rate == 0 { // no schedule: intended is sent
		r.hists[seriesService] = r.hists[seriesResponse]
	}
	r.Response, r.Service = quantilesOf(r.hists[seriesResponse]), quantilesOf(r.hists[seriesService])
	r.Delay, r.E2E = quantilesOf(r.hists[seriesDelay]), quantilesOf(r.hists[seriesE2E])
	s.detail(r, v)
	r.ClientCPUS = s.cpu
	window := s.ended.Sub(s.warm.at)
	r.Detail.Window, r.Detail.Confirmed = window, span(s.warm.ends, s.final)
	if window > 0 && sum.acked > 0 {
		r.MsgsPerS = float64(r.Detail.Confirmed) / window.Seconds()
		r.BytesPerS = r.MsgsPerS * float64(sum.bytes) / float64(sum.acked)
	}
	s.nameBottleneck(r)
	return r
}

func (s *session) detail(r *Result, v *Verification) {
	cfg, sum := &s.cfg, &s.load.tally.sum
	d := &r.Detail
	d.Schema, d.Partitions, d.Capacity = detailSchema, s.partitions, s.capacity
	d.Mode, d.Config = cfg.mode(), cfg.effective()
	d.Overflow, d.Censored = sum.overflow, sum.censored
	d.Errors, _ = s.load.f.errs.snapshot()
	d.Steady = steadyState(s.load.tally.perSecond(s.load.f.win))
	for _, p := range s.load.producers {
		d.Backpressure += p.full.Load()
	}
	if cfg.Consumers > 0 {
		d.Live, r.Consumed = &sum.consumed, &sum.consumed
		errs, _ := s.load.cons.errs.snapshot()
		for msg, n := range errs {
			s.load.f.errs.add(msg, n)
		}
		if sum.consumed < sum.acked {
			s.load.f.errs.note(fmt.Errorf("live consumers stalled: %d records consumed of %d acknowledged", sum.consumed, sum.acked))
		}
		d.Errors, _ = s.load.f.errs.snapshot()
	}
	if v != nil {
		d.Verification = v
		if r.Consumed == nil { // live consumers' own count, where there were any, is what was consumed
			r.Consumed = &v.Read
		}
		r.Lost, r.Duplicated, r.Reordered, r.Corrupted = &v.Lost, &v.Duplicated, &v.Reordered, &v.Corrupted
	}
}

func (s *session) nameBottleneck(r *Result) {
	lag := sumLag(s.load.producers)
	r.Detail.Unsent, r.Detail.Late = lag.unsent, lag.late
	storage := false
	for msg := range r.Detail.Errors {
		storage = storage || strings.Contains(msg, "KAFKA_STORAGE_ERROR")
	}
	e := evidence{
		openLoop: s.cfg.Rate > 0, closedLoop: s.cfg.ClosedLoop > 0, rate: r.MsgsPerS, capacity: s.capacity, sent: r.Sent, lag: lag,
		storageErrors: storage, ioShare: s.io,
	}
	r.Saturated, r.Detail.Why = e.bottleneck()
}

// perSecond is the acknowledged rate of each whole interval of the timed window, drain excluded; a run that ends by count has no
// end to cut at.
func (t *tally) perSecond(w window) []float64 {
	var out []float64
	for i := range t.intervals {
		iv := &t.intervals[i]
		if w.end > 0 && iv.end > w.end || iv.start < w.warmEnd {
			continue
		}
		if length := iv.end - iv.start; length > int64(collectEvery)/2 {
			out = append(out, float64(iv.count.acked)/float64(length)*1e9)
		}
	}
	return out
}
