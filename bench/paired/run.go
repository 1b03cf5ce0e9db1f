package paired

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Stand makes the two programs of a block and runs them. Its methods are called by
// one goroutine, one at a time.
type Stand interface {
	// Probe finds out what load all runs offer. What it returns holds for the whole
	// comparison, however often that is interrupted.
	Probe(ctx context.Context, seed uint64) (map[string]float64, error)
	// Link makes the programs of a block and returns their hashes. In a Null block
	// both are of the base commit.
	Link(ctx context.Context, s Slot, layouts map[Side]uint32) (map[Side]string, error)
	// Rest returns when the machine has settled after the links.
	Rest(ctx context.Context, s Slot) error
	// Run runs the side's program of the block that was linked last, in fresh
	// processes and a fresh directory, all of which are gone when it returns.
	Run(ctx context.Context, t Turn) (Outcome, error)
	// Look reads the signals of the machine.
	Look() Reading
}

// Turn is one run that is due.
type Turn struct {
	Slot
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
	Status  string // OK; Failed: the side broke a promise; Invalid: the run says nothing
	Problem string
	Values  map[string]float64
}

// Want is how many blocks a judge wants to see before it is asked again, counted
// from the first. With neither it has decided.
type Want struct{ Main, Confirm int }

// Judge says what the blocks so far want.
type Judge func(main, confirm, nulls []Block) (Want, error)

// Comparison is one comparison. Its fields are set before Run.
type Comparison struct {
	Plan   Plan
	Limits Limits
	Ledger *Ledger
	Stand  Stand
	Judge  Judge
}

// End is how a comparison ended. Without Unfit and Broken the judge decided.
type End struct {
	Unfit  string // why nothing can be concluded
	Broken string // the promise that head broke
}

// Run runs the blocks that the judge wants, until it wants no more, and returns
// how it ended. It blocks, minutes as a rule. When ctx ends, or the stand fails,
// the block under way is lost and the ledger holds the others. Errors: ErrHarness,
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
		blocks := func(s Stage) []Block { return c.Ledger.blocks(s, c.Plan.Metrics) }
		main, confirm := blocks(Main), blocks(Confirm)
		want, err := c.Judge(main, confirm, blocks(Null))
		if err != nil {
			return End{}, fmt.Errorf("judge: %w", err)
		}
		if want == (Want{}) {
			return End{}, nil
		}
		slots, err := c.due(want)
		if err != nil {
			return End{}, err
		}
		if err := c.all(ctx, slots); err != nil {
			return End{}, err
		}
	}
}

// due lists the blocks that are missing for what the judge wants.
func (c *Comparison) due(w Want) ([]Slot, error) {
	var slots []Slot
	missing := func(s Slot) {
		if c.Ledger.counted(s) == 0 {
			slots = append(slots, s)
		}
	}
	for _, s := range c.Plan.sequence(c.Ledger.Header.Seed) {
		if s.Stage == Null && w.Main > 0 || s.Block <= w.Main {
			missing(s)
		}
	}
	for n := range min(w.Confirm, c.Plan.Confirm) {
		missing(Slot{Confirm, n + 1})
	}
	if len(slots) == 0 {
		return nil, fmt.Errorf("%w: the judge wants %d blocks and %d of confirmation, the plan has no more", ErrHarness, w.Main, w.Confirm)
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
		if c.Ledger.counted(slots[i]) > 0 {
			i++
		}
	}
	return nil
}

// over says whether a run so far ends the comparison, or the machine does.
func (c *Comparison) over() (End, bool, error) {
	for _, line := range c.Ledger.Lines {
		r := line.Run
		switch {
		case r == nil || r.Status == OK:
		case r.Status == Invalid:
			return End{Unfit: fmt.Sprintf("%s, run %d (%s) says nothing: %s", r.Slot, r.Place, r.Side, r.Problem)}, true, nil
		case r.Side == Head && r.Stage != Null:
			return End{Broken: fmt.Sprintf("%s, run %d (%s): %s", r.Slot, r.Place, r.Side, r.Problem)}, true, nil
		default:
			return End{}, true, fmt.Errorf("%w: %s, run %d: %s: choose a base that keeps its promises", ErrViolation, r.Slot, r.Place, r.Problem)
		}
	}
	planned := max(c.Plan.Looks[0]+c.Plan.Nulls, c.Ledger.Kept())
	if redone := c.Ledger.Redone(); float64(redone) > c.Limits.Redone*float64(planned) {
		return End{Unfit: fmt.Sprintf("%d blocks of %d were disturbed by the machine: %s", redone, planned, c.lastRedo())}, true, nil
	}
	return End{}, false, nil
}

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
	toss := TossOf(c.Ledger.Header.Seed, s)
	try := c.Ledger.tries(s) + 1
	programs, err := c.Stand.Link(ctx, s, toss.Layouts)
	if err != nil {
		return err
	}
	if err := c.Ledger.add(Line{Linked: &Linked{Slot: s, Try: try, Layouts: toss.Layouts, Programs: programs}}); err != nil {
		return err
	}
	if err := c.Stand.Rest(ctx, s); err != nil {
		return err
	}
	before := c.Stand.Look()
	for place := range runsPerBlock {
		turn.Place, turn.Side = place+1, toss.side(place)
		if ok, err := c.run(ctx, turn, try); !ok || err != nil {
			return err
		}
	}
	signals := Between(before, c.Stand.Look())
	return c.Ledger.add(Line{Closed: &Closed{Slot: s, Try: try, Order: toss.Order, Signals: signals,
		Redo: c.Limits.exceeded(signals), At: time.Now()}})
}

// run makes one run and keeps it, whatever came of it.
func (c *Comparison) run(ctx context.Context, t Turn, try int) (ok bool, err error) {
	began := time.Now()
	out, err := c.Stand.Run(ctx, t)
	if err != nil {
		return false, fmt.Errorf("run %d (%s): %w", t.Place, t.Side, err)
	}
	for name, v := range out.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false, fmt.Errorf("run %d (%s): %s is %v", t.Place, t.Side, name, v)
		}
	}
	return out.Status == OK, c.Ledger.add(Line{Run: &Run{Slot: t.Slot, Try: try, Place: t.Place, Side: t.Side, Program: out.Program, Dir: out.Dir,
		Began: began, Seconds: time.Since(began).Seconds(), Status: out.Status, Problem: out.Problem, Values: out.Values}})
}
