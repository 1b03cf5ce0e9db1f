package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"dyno/bench/record"
)

// bareExperiment is an experiment in progress that has no cells yet, in a lab without a
// machine to itself.
func bareExperiment(t *testing.T) *experiment {
	t.Helper()
	work, err := newWorkDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	led, err := openLedger(t.TempDir(), &Experiment{Name: "x"}, &record.Environment{}, exactSource, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { led.file.Close() })
	opt := &Options{quiet: quietRule{Share: 1, Window: time.Millisecond, WaitMax: time.Millisecond}}
	return &experiment{Experiment: &Experiment{Name: "x"}, ledger: led,
		lab: &lab{opt: opt, work: work, progress: newReporter(io.Discard, false, 1)}}
}

// child is a measuring child that says these events: the first once it has been asked,
// each other one after one more line of its parent.
func child(events ...string) []string {
	var script strings.Builder
	for _, e := range events {
		fmt.Fprintf(&script, "read line; echo '%s'; ", e)
	}
	return []string{"sh", "-c", script.String()}
}

const ready = `{"kind":"ready"}`

// A broken promise is an answer of its repetition, however the work says it; any other
// error means that it could not run. Neither has the phase of the repetition before.
func TestBrokenPromiseIsAnAnswer(t *testing.T) {
	broken, other := fmt.Errorf("read back: %w: 3 lost", ErrViolation), errors.New("no such program")
	for _, c := range []struct {
		says, want error
		status     string
	}{{broken, nil, record.Failed}, {other, other, record.OK}} {
		x := bareExperiment(t)
		x.phase = "recycled"
		cell := &Cell{Arm: "a", Measure: func(context.Context, *bed) error { return c.says }}
		rep, err := x.measure(t.Context(), cell, turn{number: 1, seed: 1})
		if !errors.Is(err, c.want) || rep.Status != c.status || x.phase != "" {
			t.Errorf("%v: %v, %+v, phase %q", c.says, err, rep, x.phase)
		}
		if c.want == nil && !strings.Contains(rep.Problem, "3 lost") {
			t.Errorf("problem %q", rep.Problem)
		}
	}
	s := &suite{cfg: &SuiteConfig{}, phase: "recycled"}
	if rep, err := s.measure(t.Context(), step{arm: armHalf, number: 1}, ""); err != nil || rep.Status != record.Invalid || s.phase != "" {
		t.Errorf("%v, %+v, phase %q", err, rep, s.phase)
	}
}

// Whatever ends an experiment early, the error says what is kept.
func TestEveryEarlyEndSaysWhatIsKept(t *testing.T) {
	measure := func(_ context.Context, b *bed) error { b.rep.Values["x"] = 1; return nil }
	for name, spoil := range map[string]func(*experiment){
		"a full disk":   func(x *experiment) { x.DiskNeed = 1 << 60 },
		"a dead ledger": func(x *experiment) { x.ledger.file.Close() },
	} {
		x := bareExperiment(t)
		x.Cells = []Cell{{Arm: "a", Measure: measure}}
		if err := x.all(t.Context(), []turn{{0, 1, 1}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		spoil(x)
		var left *Interrupted
		if err := x.all(t.Context(), []turn{{0, 1, 1}, {0, 2, 2}}); !errors.As(err, &left) || left.Kept != 1 || left.Of != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A record that the fill lost is a broken promise, one that it could not write is none.
func TestFillKeepsPromises(t *testing.T) {
	for result, broken := range map[string]bool{`{"violation":"3 lost"}`: true, `{"report":{"failed":3}}`: false} {
		x := bareExperiment(t)
		x.lab.child = child(ready, `{"kind":"result","result":`+result+`}`)
		err := (&bed{lab: x.lab}).write(t.Context(), loadSpec{})
		if err == nil || errors.Is(err, ErrViolation) != broken || !strings.Contains(err.Error(), "3 ") {
			t.Errorf("%s: %v", result, err)
		}
	}
}

// A standstill stays the answer when the load that met it ends badly.
func TestStandstillOutlivesItsLoad(t *testing.T) {
	x := bareExperiment(t)
	x.lab.child = []string{"sh", "-c", `read request; echo '` + ready + `'; read go; echo '{"kind":"progress","progress":{"acks":[{"p":0,"s":1,"a":2}]}}';
		read stop; echo '{"kind":"error","error":"no answer within a minute"}'`}
	b := &bed{lab: x.lab, rep: &record.Repetition{Status: record.OK}}
	o := &outage{b: b, spec: loadSpec{Partitions: 1}, line: newTimeline(1)}
	res, err := o.load(t.Context(), func(context.Context, *outage) error { return &standstill{of: 1, patience: time.Second} })
	if err != nil || res != nil || b.rep.Status != record.Failed || !strings.Contains(b.rep.Problem, "took no record for 1s") {
		t.Errorf("%v, %v, %+v", res, err, b.rep)
	}
}

// What a profiled load lost is not hidden by its figures being thrown away.
func TestProfiledLoadKeepsPromises(t *testing.T) {
	if err := (&measured{load: &loadResult{}}).kept(); err != nil {
		t.Error(err)
	}
	if err := (&measured{load: &loadResult{Violation: "3 lost"}}).kept(); !errors.Is(err, ErrViolation) || !strings.Contains(err.Error(), "3 lost") {
		t.Errorf("%v", err)
	}
}
