package loadgen

import (
	"context"
	"math"
	"testing"
	"time"
)

// stalledServer answers each record service ns after it was sent, but nothing between two instants.
type stalledServer struct{ service, from, until int64 }

func (v stalledServer) answer(sent int64) int64 {
	at := sent + v.service
	if at > v.from && at < v.until {
		return v.until + v.service
	}
	return at
}

// simulate runs one producer on a manual clock against a server; the open loop's promises run at their answer time, so the
// generator never waits for the server.
func simulate(t *testing.T, cfg Config, v stalledServer) *tally {
	t.Helper()
	cfg.Brokers, cfg.Producers = []string{"unused:1"}, 1
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	var now int64
	clk := &clock{manual: &now}
	f := &flight{cfg: &cfg, clk: clk, run: 1, partitions: 4}
	f.win = window{warmEnd: int64(cfg.Warmup), end: int64(cfg.Warmup + cfg.Duration)}
	p := newProducer(f, 0, newRecorder(measured(&cfg)...))
	p.discard = func(s *slot) {
		sent := now
		now = v.answer(sent)
		if cfg.ClosedLoop > 0 {
			p.settle(s, nil) // the clock stays at the answer: the client waits for it
			p.free.push(s)
			return
		}
		p.answer(s, nil)
		now = sent
	}
	if cfg.ClosedLoop > 0 {
		p.saturate(context.Background()) // with one slot and a waiting server this is a closed-loop client
	} else {
		sl, err := newSleeper(clk)
		if err != nil {
			t.Fatal(err)
		}
		a := newArrivals(cfg.Profile, cfg.Rate, 0, 1, cfg.Seed, cfg.Duration)
		if err := p.follow(context.Background(), a, sl); err != nil {
			t.Fatal(err)
		}
	}
	tl := newTally([]*recorder{p.rec})
	if _, err := tl.collect(0, now, false); err != nil {
		t.Fatal(err)
	}
	return tl
}

// TestStallAnalytic: at 10,000/s over 10 s a stall of 1 s delays 10,000 records, uniformly between 0 and 1 s. Of 100,000 records
// the slowest 1 % are a tenth of those: p99 is 0.9 s, p99.9 0.99 s. A closed loop sends one record during the stall and reports
// a p99.9 of its ordinary service time: coordinated omission.
func TestStallAnalytic(t *testing.T) {
	server := stalledServer{service: 200_000, from: 4e9, until: 5e9}
	for _, arrivals := range []Arrivals{Uniform, Poisson} {
		t.Run(string(arrivals), func(t *testing.T) {
			tl := simulate(t, Config{Rate: 10_000, Duration: 10 * time.Second, Profile: Profile{Arrivals: arrivals}}, server)
			q := quantilesOf(tl.total[seriesResponse])
			tolerance := 0.002
			if arrivals == Poisson {
				tolerance = 0.02 // the number of delayed records is itself random
			}
			near(t, "p99", q.P99, 0.9e9, tolerance)
			near(t, "p99.9", q.P999, 0.99e9, tolerance)
			near(t, "max", q.Max, 1e9, tolerance)
			if d := quantilesOf(tl.total[seriesDelay]); d.P99 > 100_000 {
				t.Errorf("the delay shows %d ns although the generator was on time", d.P99)
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		tl := simulate(t, Config{ClosedLoop: 1, Duration: 10 * time.Second}, server)
		q := quantilesOf(tl.total[seriesResponse])
		near(t, "p99.9", q.P999, 200_000, 0.01)
		near(t, "max", q.Max, 1e9, 0.01)
	})
}

// TestWakeUps: a sender of few records sends each when it is due; one of many wakes a thousand times a second, sends what is due in
// bursts and shows the wait as delay and in the response.
func TestWakeUps(t *testing.T) {
	if every := WakeEvery(1); every != 100*time.Microsecond {
		t.Errorf("a sender of one record/s wakes every %v", every)
	}
	for _, c := range []struct {
		rate  float64
		every int64 // ns
	}{{1_000, 0}, {10_000, 0}, {25_000, 200_000}, {50_000, 400_000}, {125_000, 1_000_000}, {400_000, 1_000_000}} {
		tl := simulate(t, Config{Rate: c.rate, Duration: time.Second}, stalledServer{service: 50_000})
		if tl.sum.acked != int64(c.rate) {
			t.Errorf("%.0f/s: %d records in a second", c.rate, tl.sum.acked)
		}
		late, response := quantilesOf(tl.total[seriesDelay]), quantilesOf(tl.total[seriesResponse])
		most := max(c.every-int64(1e9/c.rate), 0)
		if most == 0 && late.Max < 1000 {
			late.Max = 0 // the histogram's first bucket
		}
		near(t, "the longest delay", late.Max, float64(most), 0.02)
		near(t, "the longest response", response.Max, float64(most+50_000), 0.02)
	}
}

// TestDebtIsNeverForgiven: with a buffer too small for the stall the generator waits, sends late and keeps the intended times, so
// the response is the same as with a large one; only its split changes.
func TestDebtIsNeverForgiven(t *testing.T) {
	var now int64
	cfg := Config{Brokers: []string{"unused:1"}, Producers: 1, Rate: 10_000, Duration: 3 * time.Second}
	cfg.setDefaults()
	f := &flight{cfg: &cfg, clk: &clock{manual: &now}, run: 1, partitions: 1, win: window{end: 3e9}}
	p := newProducer(f, 0, newRecorder(measured(&cfg)...))
	server := stalledServer{service: 100_000, from: 1e9, until: 2e9}
	p.discard = func(s *slot) { // a server that takes one record at a time: the sender meets the whole stall itself
		now = max(now, server.answer(now))
		p.answer(s, nil)
	}
	server.service = 1_000
	sl, _ := newSleeper(f.clk)
	a := newArrivals(cfg.Profile, cfg.Rate, 0, 1, 1, cfg.Duration)
	if err := p.follow(context.Background(), a, sl); err != nil {
		t.Fatal(err)
	}
	tl := newTally([]*recorder{p.rec})
	if _, err := tl.collect(0, now, false); err != nil {
		t.Fatal(err)
	}
	if tl.sum.acked != 30_000 || p.lag.unsent != 0 {
		t.Fatalf("%d acked, %d unsent, want all 30,000", tl.sum.acked, p.lag.unsent)
	}
	// 10,000 of 30,000 are late by up to 1 s: p99 leaves 300 above, so 0.97 s, seen in response and delay alike.
	near(t, "response p99", quantilesOf(tl.total[seriesResponse]).P99, 0.97e9, 0.02)
	near(t, "delay p99", quantilesOf(tl.total[seriesDelay]).P99, 0.97e9, 0.02)
	if q := quantilesOf(tl.total[seriesService]); q.P99 > 10_000 {
		t.Errorf("service p99 %d ns, want about 1 us: the stall belongs to the delay of all records but one", q.P99)
	}
	if p.lag.late < 9_000 || p.lag.lateFor < 5e8 {
		t.Errorf("lag %+v does not show the stall", p.lag)
	}
}

// TestUnsentIsCounted: a generator asked for more than it can send stops after a grace and says what it owes.
func TestUnsentIsCounted(t *testing.T) {
	var now int64
	cfg := Config{Brokers: []string{"unused:1"}, Producers: 1, Rate: 10_000, Duration: 10 * time.Second}
	cfg.setDefaults()
	f := &flight{cfg: &cfg, clk: &clock{manual: &now}, run: 1, partitions: 1, win: window{end: 10e9}}
	p := newProducer(f, 0, newRecorder(measured(&cfg)...))
	p.discard = func(s *slot) { now += 1e6; p.answer(s, nil) } // 1,000/s at most
	sl, _ := newSleeper(f.clk)
	if err := p.follow(context.Background(), newArrivals(cfg.Profile, cfg.Rate, 0, 1, 1, cfg.Duration), sl); err != nil {
		t.Fatal(err)
	}
	if total := p.sent.Load() + p.lag.unsent; total != 100_000 || p.lag.unsent < 88_000 {
		t.Fatalf("sent %d and unsent %d, want 100,000 together, about 11,000 of them sent", p.sent.Load(), p.lag.unsent)
	}
	e := evidence{openLoop: true, lag: p.lag, sent: p.sent.Load(), ioShare: -1}
	if b, why := e.bottleneck(); b != BottleneckGenerator {
		t.Fatalf("bottleneck %s (%s), want generator: slots were free", b, why)
	}
}

// TestCensoredRecordsAreInTheResponse: a cluster that hangs for good at 2.5 s of 3 s leaves 5,000 of 30,000 records without an
// acknowledgement, due up to 0.5 s before the end; p99 leaves 300 above, so it is at least 0.47 s. Half are cut off in flight and
// half are never sent.
func TestCensoredRecordsAreInTheResponse(t *testing.T) {
	var now int64
	cfg := Config{Brokers: []string{"unused:1"}, Producers: 1, Rate: 10_000, Duration: 3 * time.Second}
	cfg.setDefaults()
	f := &flight{cfg: &cfg, clk: &clock{manual: &now}, run: 1, partitions: 1, win: window{end: 3e9}}
	p := newProducer(f, 0, newRecorder(measured(&cfg)...))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var hung []*slot
	p.discard = func(s *slot) {
		if now < 2_500_000_000 {
			p.answer(s, nil)
			return
		}
		if hung = append(hung, s); len(hung) == 2_500 {
			for p.free.pop() != nil { // the rest of the buffer is taken
			}
			cancel()
		}
	}
	sl, _ := newSleeper(f.clk)
	if err := p.follow(ctx, newArrivals(cfg.Profile, cfg.Rate, 0, 1, 1, cfg.Duration), sl); err != nil {
		t.Fatal(err)
	}
	lastAcked := p.last
	now = 3e9
	for _, s := range hung {
		p.settle(s, context.DeadlineExceeded)
	}
	tl := newTally([]*recorder{p.rec})
	if _, err := tl.collect(0, now, false); err != nil {
		t.Fatal(err)
	}
	if tl.sum.acked != 25_000 || p.lag.unsent != 2_500 || tl.sum.censored != 5_000 || p.last != lastAcked {
		t.Fatalf("%d acked, %d unsent, %d censored, last answer moved by %d", tl.sum.acked, p.lag.unsent, tl.sum.censored, p.last-lastAcked)
	}
	near(t, "response p99", quantilesOf(tl.total[seriesResponse]).P99, 0.47e9, 0.02)
}

func near(t *testing.T, what string, got int64, want, tolerance float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > tolerance*want {
		t.Errorf("%s is %v, want %v within %.1f %%", what, time.Duration(got), time.Duration(want), 100*tolerance)
	}
}
