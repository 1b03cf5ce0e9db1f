package paired

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"dyno/bench/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a stand without programs: a run gives what its side is worth.
type fake struct {
	runs   []Turn // in the order they came
	links  []Slot
	probes int
	dirs   int
	now    Reading
	linked map[Side]string

	// steal, if set, is the share stolen during the nth link's block, from 1.
	steal func(link int) float64
	// before, if set, is called before the nth run, from 1; its error ends the run.
	before func(n int) error
	// spoil, if set, changes what a run gives.
	spoil func(n int, t Turn, o *Outcome)
	// relink, if set, changes what a link gives.
	relink func(s Slot, programs map[Side]string)
}

func (f *fake) Probe(context.Context, uint64) (map[string]float64, error) {
	f.probes++
	return map[string]float64{"rate": 1000}, nil
}

func (f *fake) Link(_ context.Context, s Slot, t Toss) (map[Side]string, error) {
	f.links = append(f.links, s)
	f.linked = map[Side]string{}
	for side, layout := range t.Layouts {
		f.linked[side] = fmt.Sprintf("%s-%d", side, layout)
	}
	if f.relink != nil {
		f.relink(s, f.linked)
	}
	return f.linked, nil
}

func (f *fake) Rest(context.Context, Slot) error { return nil }

func (f *fake) Run(ctx context.Context, turns []Turn) iter.Seq2[Outcome, error] {
	return func(yield func(Outcome, error) bool) {
		for _, t := range turns {
			if out, err := f.run(ctx, t); !yield(out, err) || err != nil {
				return
			}
		}
	}
}

func (f *fake) run(ctx context.Context, t Turn) (Outcome, error) {
	f.runs = append(f.runs, t)
	n := len(f.runs)
	if f.before != nil {
		if err := f.before(n); err != nil {
			return Outcome{}, err
		}
	}
	if ctx.Err() != nil {
		return Outcome{}, ctx.Err()
	}
	share := 0.0
	if f.steal != nil {
		share = f.steal(len(f.links))
	}
	f.now.Mono += time.Second
	f.now.Boot += time.Second
	f.now.Wall += time.Second
	f.now.Total += 2
	f.now.Steal += 2 * share
	f.dirs++
	out := Outcome{Began: time.Unix(0, int64(f.now.Mono)), Seconds: 1, Program: f.linked[t.Side], Dir: fmt.Sprintf("%06d", f.dirs), Status: OK,
		Values: map[string]float64{"cpu": float64(n), "rate": t.Load["rate"]}}
	if f.spoil != nil {
		f.spoil(n, t, &out)
	}
	return out, nil
}

func (f *fake) Look() Reading { return f.now }

// wants is a judge that decides nothing: it goes on until it has seen the blocks of
// its last look and of a confirmation, and keeps what it saw.
type wants struct {
	look    int // of plan's
	confirm int
	asked   int
	seen    *gate.Evidence
}

func (w *wants) judge(r gate.Rule, e *gate.Evidence) (*gate.Decision, error) {
	w.asked++
	w.seen = e
	kept := func(blocks []gate.Block) (n int) {
		for _, b := range blocks {
			if b.Redo == "" {
				n++
			}
		}
		return n
	}
	for _, n := range r.Looks {
		if have := kept(e.Blocks); n <= w.look && have < r.Slots(n) {
			return &gate.Decision{Verdict: gate.Continue, Need: gate.Need{Blocks: r.Slots(n) - have}}, nil
		}
	}
	if have := kept(e.Confirm); have < w.confirm {
		return &gate.Decision{Verdict: gate.Continue, Need: gate.Need{Confirm: w.confirm - have}}, nil
	}
	return &gate.Decision{Verdict: gate.Inconclusive}, nil
}

var plan = Plan{Rule: gate.Rule{Metrics: []gate.Metric{{Name: "cpu"}, {Name: "rate", Higher: true}}, Looks: []int{6, 9}, Nulls: 2, Confirm: 3, RedoShare: 0.3}}

// decided is how a comparison ends whose judge decided.
func decided(e End) bool { return e.Decision != nil && e.Unfit == "" && e.Broken == "" }

func header(seed uint64) Header {
	return Header{Lane: "t", Base: "b", Head: "h", Config: json.RawMessage(`{"x":1}`), Fingerprint: "here", Seed: seed}
}

// compare opens the ledger in dir and runs a comparison to its end.
func compare(t *testing.T, ctx context.Context, dir string, f *fake, w *wants) (End, *Ledger, error) {
	t.Helper()
	l, err := OpenLedger(dir, header(7), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.dirs = 1000 * len(l.Lines) // names are unique over invocations, as a stand's must be
	c := &Comparison{Plan: plan, Ledger: l, Stand: f, Judge: w.judge}
	end, err := c.Run(ctx)
	return end, l, err
}

// only says what lies in a directory.
func only(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
