package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
)

// profiledMacro is the lane T with CPU profiles: its runs do the one part of macro's
// that a metric is taken from, and nothing that they measure is ever compared.
type profiledMacro struct {
	*macro
	metric  string
	load    map[string]float64
	into    string
	seconds int // of a profile
}

const (
	profileSeconds = 3
	// profileSlack is what a window has beside its profile, which begins with the first
	// report of the generator and ends when three brokers have answered.
	profileSlack = 2 * time.Second
)

func (m *macro) profiled(metric string, load map[string]float64, into string) (lane, string) {
	phase := "produce at a fixed rate"
	switch metric {
	case valueConsumeCPU:
		phase = "consume"
	case valueSaturated:
		phase = "produce as fast as it goes"
	}
	return &profiledMacro{macro: m, metric: metric, load: load, into: into, seconds: profileSeconds}, phase
}

func (m *profiledMacro) name() string { return "t-profiles" }

func (m *profiledMacro) metrics() []gate.Metric {
	return []gate.Metric{{Name: valueProfiled, Effect: 1, Bound: 1}} // it decides nothing
}

func (m *profiledMacro) probe(context.Context, *program, string, uint64) (map[string]float64, error) {
	return m.load, nil
}

func (m *profiledMacro) run(ctx context.Context, runs []laneRun, which func(int) (string, error)) ([]paired.Outcome, error) {
	return single(runs, func(r laneRun) (paired.Outcome, error) { return m.profiledRun(ctx, r, which) })
}

func (m *profiledMacro) profiledRun(ctx context.Context, r laneRun, which func(int) (string, error)) (paired.Outcome, error) {
	cpu := 0.0
	out, err := m.with(ctx, r, which, func(ctx context.Context, c *cluster, tr *trial, rep *record.Repetition) (err error) {
		take := func(ctx context.Context, c *cluster) error { return m.take(ctx, c, filepath.Base(r.dir)) }
		if m.metric == valueConsumeCPU {
			cpu, err = m.consumed(ctx, c, tr, rep, take)
			return err
		}
		if m.metric == valueSaturated {
			tr.spec.Rate = 0
		}
		tr.spec.Window, tr.beside = time.Duration(m.seconds)*time.Second+profileSlack, take
		got, err := tr.load(ctx, c)
		if err != nil {
			return err
		}
		err = tr.judge(rep, got)
		cpu = rep.Values["broker_cpu"]
		return err
	})
	out.Values = map[string]float64{valueProfiled: cpu}
	return out, err
}

// take saves a CPU profile of every broker, all at once.
func (m *profiledMacro) take(ctx context.Context, c *cluster, run string) error {
	return c.each(func(i int) error {
		url := adminURL(c.Nodes[i].Admin, fmt.Sprintf("/debug/pprof/profile?seconds=%d", m.seconds))
		return fetchInto(ctx, m.http, http.MethodGet, url, filepath.Join(m.into, profileName(run, i+1)))
	})
}

// consumed writes a topic, reads it to learn how long that takes, and reads it again
// with profiles, for about twice as long as they last.
func (m *profiledMacro) consumed(ctx context.Context, c *cluster, t *trial, rep *record.Repetition, take func(context.Context, *cluster) error) (float64, error) {
	got, err := t.load(ctx, c)
	if err != nil {
		return 0, err
	}
	if err := t.judge(rep, got); err != nil || rep.Status != record.OK {
		return 0, err
	}
	holds, begun := got.load.Detail.Verification.Read, time.Now()
	if err := m.consume(ctx, c, t, holds, macroPasses, nil, rep); err != nil || rep.Status != record.OK {
		return 0, err
	}
	passes := int(math.Ceil(2 * float64(m.seconds) * macroPasses / time.Since(begun).Seconds()))
	var beside sync.WaitGroup
	var takeErr error
	err = m.consume(ctx, c, t, holds, passes, func() { beside.Go(func() { takeErr = take(ctx, c) }) }, rep)
	if beside.Wait(); err == nil {
		err = takeErr
	}
	return rep.Values[valueConsumeCPU], err
}
