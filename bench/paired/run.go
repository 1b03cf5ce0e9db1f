package paired

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"dyno/bench/gate"
)

// Stand makes the two programs of a block and runs them. Its methods are called by
// one goroutine, one at a time.
type Stand interface {
	// Probe finds out what load all runs offer. What it returns holds for the whole
	// comparison, however often that is interrupted.
	Probe(ctx context.Context, seed uint64) (map[string]float64, error)
	// Link makes the programs of a block and returns their hashes. In a null block
	// both are of the base commit.
	Link(ctx context.Context, s Slot, t Toss) (map[Side]string, error)
	// Rest returns when the machine has settled after the links.
	Rest(ctx context.Context, s Slot) error
	// Run runs the sides' programs of the block that was linked last, each turn in
	// fresh processes and a fresh directory, all of which are gone when it has yielded
	// the last. It yields what each was and gave, in the order of the turns, or an
	// error and no more. Turns are run one after the other, or in rounds of all.
	Run(ctx context.Context, turns []Turn) iter.Seq2[Outcome, error]
	// Look reads the signals of the machine.
	Look() Reading
}

// Turn is one run that is due.
type Turn struct {
	Slot
	Null  bool
	Place int // 1 to 4
	Side  Side
	Load  map[string]float64 // from Probe
	Done  int                // blocks before this one that count, for people
	Of    int                // blocks until the next look
}

// Outcome is what a run was and gave. An error instead means that it could not run.
type Outcome struct {
	Program string // hash of the program that really ran
	Dir     string // name of the directory it had
	Began   time.Time
	Seconds float64
	Status  string // OK; Failed: the side broke a promise; Invalid: the run says nothing
	Problem string
	Values  map[string]float64
}

// Judge decides on the evidence so far, or says what it needs: gate.Judge.
type Judge func(gate.Rule, *gate.Evidence) (*gate.Decision, error)

// Comparison is one comparison. Its fields are set before Run.
type Comparison struct {
	Plan   Plan
	Limits Limits
	Ledger *Ledger
	Stand  Stand
	Judge  Judge
	// Nulls are the values of earlier null blocks on this machine, by metric.
	Nulls map[string][]float64
}

// End is how a comparison ended: with a decision, unless a run ended it before.
type End struct {
	Decision *gate.Decision
	Unfit    string // why nothing can be concluded
	Broken   string // the promise that head broke
	Behind   string // what head cannot do that base does
}

// Run runs the blocks that the judge needs, until it has decided, and returns how
// it ended. It blocks, minutes as a rule. When ctx ends, or the stand fails, the
// block under way is lost and the ledger holds the others. Errors: ErrHarness,
// ErrViolation, ctx's, the stand's and the judge's own.
func (c *Comparison) Run(ctx context.Context) (End, error) {
	c.Limits.SetDefaults()
	if err := c.Plan.check(); err != nil {
		return End{}, err
	}
	for {
		if err := c.Ledger.Audit(&c.Plan, &c.Limits); err != nil {
			return End{}, err
		}
		if end, over, err := c.over(); over || err != nil {
			return end, err
		}
		d, err := c.Judge(c.Plan.Rule, c.Ledger.Evidence(&c.Plan, c.Nulls))
		if err != nil {
			return End{}, fmt.Errorf("judge: %w", err)
		}
		if d.Verdict != gate.Continue {
			return End{Decision: d}, nil
		}
		slots, err := c.due(d.Need)
		if err != nil {
			return End{}, err
		}
		if err := c.all(ctx, slots); err != nil {
			return End{}, err
		}
	}
}

// due lists the blocks that the judge needs next.
func (c *Comparison) due(need gate.Need) (slots []Slot, err error) {
	rule := &c.Plan.Rule
	for _, s := range []struct {
		stage      Stage
		more, most int
	}{{Main, need.Blocks, rule.Slots(rule.Looks[len(rule.Looks)-1])}, {Confirm, need.Confirm, rule.Confirm}} {
		kept := c.Ledger.kept(s.stage)
		if kept+s.more > s.most {
			return nil, fmt.Errorf("%w: the judge needs %d more blocks of %s after %d, the rule has %d", ErrHarness, s.more, s.stage, kept, s.most)
		}
		for n := range s.more {
			slots = append(slots, Slot{s.stage, kept + n})
		}
	}
	if len(slots) == 0 {
		return nil, fmt.Errorf("%w: the judge goes on and needs nothing", ErrHarness)
	}
	return slots, nil
}

// all runs blocks until each counts, or something ends the comparison.
func (c *Comparison) all(ctx context.Context, slots []Slot) error {
	for i := 0; i < len(slots); {
		if _, over, err := c.over(); over || err != nil {
			return err
		}
		load, err := c.load(ctx)
		if err == nil {
			err = c.pause(ctx, slots[i])
		}
		if err == nil {
			err = c.block(ctx, slots[i], Turn{Slot: slots[i], Load: load, Done: c.Ledger.Kept(), Of: c.Ledger.Kept() + len(slots) - i})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", slots[i], err)
		}
		if err := c.Ledger.Audit(&c.Plan, &c.Limits); err != nil {
			return err // now, not at the look
		}
		if c.Ledger.counted(slots[i]) > 0 {
			i++
		}
	}
	return nil
}

// over says whether a run so far ends the comparison, or the machine does.
func (c *Comparison) over() (End, bool, error) {
	behind := 0
	for _, line := range c.Ledger.Lines {
		if line.Closed != nil && line.Closed.Void != "" {
			if behind++; behind == behindBlocks {
				return End{Behind: fmt.Sprintf("%s: %s", line.Closed.Slot, line.Closed.Void)}, true, nil
			}
		}
		switch r := line.Run; {
		case r == nil || r.Status != Failed:
		case r.Side == Head && !c.Plan.Toss(c.Ledger.Header.Seed, r.Slot).Null:
			return End{Broken: fmt.Sprintf("%s, run %d (%s): %s", r.Slot, r.Place, r.Side, r.Problem)}, true, nil
		default:
			return End{}, true, fmt.Errorf("%w: %s, run %d: %s: choose a base that keeps its promises", ErrViolation, r.Slot, r.Place, r.Problem)
		}
	}
	rule := &c.Plan.Rule
	for stage, of := range map[Stage]int{Main: rule.Slots(rule.NextLook(c.Ledger.kept(Main))), Confirm: rule.Confirm} {
		if redone := c.Ledger.Redone(stage); redone > rule.RedoMost(of) {
			return End{Unfit: fmt.Sprintf("%d blocks of %d had to be set aside: %s", redone, of, c.lastRedo())}, true, nil
		}
	}
	return End{}, false, nil
}

// behindBlocks is how many quiet blocks it takes in which all of head's runs say
// nothing and all of base's are good; the first may be chance, and is run again.
const behindBlocks = 2

func (c *Comparison) lastRedo() (why string) {
	for _, line := range c.Ledger.Lines {
		if line.Closed != nil && len(line.Closed.Redo) > 0 {
			why = line.Closed.Redo[0]
		}
	}
	return why
}

// load asks the probe once in the life of a ledger.
func (c *Comparison) load(ctx context.Context) (map[string]float64, error) {
	if load := c.Ledger.load(); load != nil {
		return load, nil
	}
	load, err := c.Stand.Probe(ctx, c.Ledger.Header.Seed)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	if len(load) == 0 { // nothing to keep: the next one says the same
		return load, nil
	}
	return load, c.Ledger.add(Line{Load: load})
}

// pause lets time go by before a confirmation, whose noise should be its own.
func (c *Comparison) pause(ctx context.Context, s Slot) error {
	if s.Stage != Confirm {
		return nil
	}
	var last time.Time
	for _, line := range c.Ledger.Lines {
		if line.Closed != nil {
			last = line.Closed.At
			if line.Closed.Stage == Confirm {
				return nil
			}
		}
	}
	timer := time.NewTimer(time.Until(last.Add(c.Plan.Pause)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// block makes one try at a block.
func (c *Comparison) block(ctx context.Context, s Slot, turn Turn) error {
	toss := c.Plan.Toss(c.Ledger.Header.Seed, s)
	try := c.Ledger.tries(s) + 1
	programs, err := c.Stand.Link(ctx, s, toss)
	if err != nil {
		return err
	}
	if err := c.Ledger.add(Line{Linked: &Linked{Slot: s, Try: try, Layouts: toss.Layouts, Programs: programs}}); err != nil {
		return err
	}
	if err := c.Stand.Rest(ctx, s); err != nil {
		return err
	}
	turns := make([]Turn, runsPerBlock)
	for place := range turns {
		turn.Null, turn.Place, turn.Side = toss.Null, place+1, toss.side(place)
		turns[place] = turn
	}
	before := c.Stand.Look()
	void, err := c.runs(ctx, turns, try)
	if errors.Is(err, errBroken) {
		return nil // over sees it
	}
	if err != nil {
		return err
	}
	closed := &Closed{Slot: s, Try: try, Order: toss.Order, Signals: Between(before, c.Stand.Look()), At: time.Now()}
	closed.Redo = c.Limits.exceeded(closed.Signals)
	switch quiet := len(closed.Redo) == 0; {
	case quiet && c.Ledger.headAlone(toss, s, try):
		closed.Void = void
	case quiet && void != "":
		closed.Redo = []string{void}
	}
	return c.Ledger.add(Line{Closed: closed})
}

// errBroken means that a run broke a promise, which ends its block.
var errBroken = errors.New("a promise was broken")

// runs makes the runs of a block and keeps each, whatever came of it. void says that
// one said nothing; the block goes on then: its signals are those of four runs.
func (c *Comparison) runs(ctx context.Context, turns []Turn, try int) (void string, err error) {
	place := 0
	for out, err := range c.Stand.Run(ctx, turns) {
		t := turns[place]
		if err == nil {
			err = c.keep(&t, &out, try)
		}
		switch {
		case errors.Is(err, errBroken):
			return "", err
		case err != nil:
			return "", fmt.Errorf("run %d (%s): %w", t.Place, t.Side, err)
		case out.Status == Invalid:
			void = fmt.Sprintf("run %d (%s) says nothing: %s", t.Place, t.Side, out.Problem)
		}
		place++
	}
	return void, nil
}

// keep adds a run to the ledger. Error: errBroken, once it is there.
func (c *Comparison) keep(t *Turn, out *Outcome, try int) error {
	for name, v := range out.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s is %v", name, v)
		}
	}
	err := c.Ledger.add(Line{Run: &Run{Slot: t.Slot, Try: try, Place: t.Place, Side: t.Side, Program: out.Program, Dir: out.Dir, Began: out.Began,
		Seconds: out.Seconds, Status: out.Status, Problem: out.Problem, Values: out.Values}})
	if err == nil && out.Status == Failed {
		err = errBroken
	}
	return err
}
