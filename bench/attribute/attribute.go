package attribute

import (
	"cmp"
	"fmt"
	"slices"

	"dyno/bench/stats"
)

// Schema is the version of an Attribution's written form.
const Schema = "dyno.attribution/1"

// FalseDiscoveries is the part of the named functions that may be expected to be
// named by chance.
const FalseDiscoveries = 0.05

const (
	confidence = 0.95 // of intervals
	// testShare is the least part of all CPU time that a function must have, on
	// average over both sides, to be looked at.
	testShare = 0.001
	partsMax  = 3 // what is told of a function's insides
)

// Attribution is what the profiles say.
type Attribution struct {
	Schema   string     `json:"schema"`
	Blocks   int        `json:"blocks"`
	Tested   int        `json:"tested"` // functions, alone and with what they call
	Total    Change     `json:"total"`  // of all CPU time
	Named    []Function `json:"named"`  // the largest rise first
	Shifted  []Shift    `json:"shifted,omitempty"`
	Renamed  []Rename   `json:"renamed,omitempty"`
	Profiles string     `json:"profiles,omitempty"` // where they lie; for the caller to fill in
	Phase    string     `json:"phase,omitempty"`    // during which they were taken; for the caller
}

// Change is a cost of both sides, in CPU-seconds per million records.
type Change struct {
	Base float64 `json:"base"`
	Head float64 `json:"head"`
	// More is the estimate of head less base (Hodges and Lehmann), with its interval
	// at 95 %.
	More float64 `json:"more"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	P    float64 `json:"p"` // one-sided: that it did not rise
}

// Function is one function that got slower.
type Function struct {
	Name string `json:"name"`
	Was  string `json:"was,omitempty"` // its name on the base side
	// Deep says that the function got slower as a whole, with no single function
	// below it that could be named; Own then tells little.
	Deep bool    `json:"deep"`
	Own  Change  `json:"own"`          // without the functions of ours that it calls
	Cum  Change  `json:"cumulative"`   // with them
	Q    float64 `json:"q"`            // p of what it is named for, corrected for all that were tested
	Rose Change  `json:"rose"`         // what it is named for: less what fell with it
	From string  `json:"from"`         // the caller through which most of it comes
	In   []Part  `json:"in,omitempty"` // where the rise lies
	// Share is the part of the whole rise; 0 where that is within its noise: a share of
	// what may be nothing has no meaning.
	Share   float64  `json:"share"`
	Against []string `json:"against,omitempty"` // functions whose fall was taken off
}

// Part is one library's or the runtime's function below a named one.
type Part struct {
	Name string  `json:"name"`
	More float64 `json:"more"`
}

// Shift is a cost that moved.
type Shift struct {
	To   string   `json:"to"`
	From []string `json:"from"`
	Rose float64  `json:"rose"`
	Left float64  `json:"left"` // of the rise, after the falls
}

// Rename is a function under its two names.
type Rename struct {
	Was string `json:"was"`
	Now string `json:"now"`
}

// attributor is an attribution in progress.
type attributor struct {
	*table
	seed      uint64
	functions []*function
	was       map[string]string
	total     costs
	critical  float64 // p-values up to it are findings
	named     map[int]bool
	cleared   map[int]bool // functions whose cost moved
	out       *Attribution
}

// Attribute finds the functions that got slower. own is the prefix of the names of
// functions to blame, such as "dyno/"; with "" every function is blamed for itself.
// It changes nothing of what it is given. Errors: ErrBlocks, ErrProfile.
func Attribute(blocks []Block, own string, seed uint64) (*Attribution, error) {
	if least := stats.LeastP(max(1, len(blocks))); least > FalseDiscoveries/10 || len(blocks) > stats.FlipsMax {
		return nil, fmt.Errorf("%w: %d: want 8 to %d", ErrBlocks, len(blocks), stats.FlipsMax)
	}
	t, err := read(blocks, own)
	if err != nil {
		return nil, err
	}
	a := &attributor{table: t, seed: seed, named: map[int]bool{}, cleared: map[int]bool{}, out: &Attribution{Schema: Schema, Blocks: len(blocks)}}
	a.was = t.rename()
	for name, was := range a.was {
		a.out.Renamed = append(a.out.Renamed, Rename{Was: was, Now: name})
	}
	slices.SortFunc(a.out.Renamed, func(x, y Rename) int { return cmp.Compare(x.Now, y.Now) })
	a.functions = t.functions()
	all := t.sum(func(*stack) bool { return true })
	a.total = minus(all[1], all[0])
	a.out.Total = a.change(all, a.total)
	alone, deep, q := a.test()
	a.nameAlone(alone, q)
	a.nameDeep(deep, q)
	slices.SortStableFunc(a.out.Named, func(x, y Function) int { return cmp.Compare(y.Rose.More, x.Rose.More) })
	return a.out, nil
}

// change describes a cost whose block differences are diff.
func (a *attributor) change(both [2]costs, diff costs) Change {
	c := Change{Base: both[0].mean(), Head: both[1].mean(), More: stats.HodgesLehmann(diff), P: stats.SignFlip(diff, a.seed)}
	c.Low, c.High = stats.ShiftInterval(diff, confidence, a.seed)
	return c
}

// tested are the functions that are looked at: the costliest, as many as so many
// blocks can tell from chance when only one of them rose. Cost is that of both sides
// together, so the choice knows nothing of the difference.
func (a *attributor) tested() []*function {
	cost := func(f *function) float64 { return f.cum[0].mean() + f.cum[1].mean() }
	list := slices.Clone(a.functions)
	slices.SortStableFunc(list, func(x, y *function) int { return cmp.Compare(cost(y), cost(x)) })
	floor, most := testShare*(a.out.Total.Base+a.out.Total.Head), int(FalseDiscoveries/stats.LeastP(a.blocks)/2)
	n := 0
	for n < min(len(list), most) && cost(list[n]) >= floor {
		n++
	}
	return list[:n]
}

// test finds what rose, alone and with what it calls, each the largest rise first.
// q is by function, the two of them apart.
func (a *attributor) test() (alone, deep []*function, q [2]map[int]float64) {
	list := a.tested()
	var p []float64
	for _, f := range list {
		p = append(p, stats.SignFlip(minus(f.flat[1], f.flat[0]), a.seed), stats.SignFlip(minus(f.cum[1], f.cum[0]), a.seed))
	}
	a.out.Tested = len(p)
	q = [2]map[int]float64{{}, {}}
	for i, v := range stats.BenjaminiHochberg(p) {
		f := list[i/2]
		q[i%2][f.id] = v
		if v > FalseDiscoveries {
			continue
		}
		a.critical = max(a.critical, p[i])
		if i%2 == 0 {
			alone = append(alone, f)
		} else {
			deep = append(deep, f)
		}
	}
	bySize := func(of func(*function) [2]costs) func(x, y *function) int {
		size := func(f *function) float64 { both := of(f); return minus(both[1], both[0]).mean() }
		return func(x, y *function) int { return cmp.Compare(size(y), size(x)) }
	}
	slices.SortStableFunc(alone, bySize(func(f *function) [2]costs { return f.flat }))
	slices.SortStableFunc(deep, bySize(func(f *function) [2]costs { return f.cum }))
	return alone, deep, q
}

// nameAlone names functions whose own cost rose by more than it took over.
func (a *attributor) nameAlone(rising []*function, q [2]map[int]float64) {
	for _, c := range a.shifts(rising) {
		rose := a.change(c.rose.flat, c.diff)
		if rose.P <= a.critical && rose.More > 0 {
			f := a.describe(c.rose, func(st *stack) bool { return st.frames[0] == c.rose.id })
			f.Rose, f.Q = rose, q[0][c.rose.id]
			for _, g := range c.others {
				f.Against = append(f.Against, a.names[g.id])
			}
			a.add(f, c.rose)
			continue
		}
		s := Shift{To: a.names[c.rose.id], Rose: minus(c.rose.flat[1], c.rose.flat[0]).mean(), Left: rose.More}
		a.cleared[c.rose.id] = true
		for _, g := range c.others {
			s.From = append(s.From, a.names[g.id])
			a.cleared[g.id] = true
		}
		a.out.Shifted = append(a.out.Shifted, s)
	}
}

// nameDeep names functions that got slower with all that they call, where nothing
// that is named already explains it: the innermost of each such chain. A rise that
// the callers do not see was there before, somewhere else below them.
func (a *attributor) nameDeep(rising []*function, q [2]map[int]float64) {
	slices.Reverse(rising) // the smallest first: it lies below the others
	for _, f := range rising {
		within := func(st *stack) bool { return slices.Contains(st.frames, f.id) && !a.explained(st) }
		both := a.sum(within)
		diff := minus(both[1], both[0])
		if stats.SignFlip(diff, a.seed) > a.critical || !a.seenAbove(f) {
			continue
		}
		out := a.describe(f, within)
		out.Deep, out.Rose, out.Q = true, a.change(both, diff), q[1][f.id]
		a.add(out, f)
	}
}

// explained says whether a stack's cost has been dealt with.
func (a *attributor) explained(st *stack) bool {
	return a.named[st.frames[0]] || a.cleared[st.frames[0]] ||
		slices.ContainsFunc(a.out.Named, func(f Function) bool { return f.Deep && slices.Contains(st.frames, a.ids[f.Name]) })
}

// seenAbove says whether what calls f got slower as well; for what nothing calls,
// whether all did.
func (a *attributor) seenAbove(f *function) bool {
	both := a.sum(func(st *stack) bool {
		above := len(f.callers) == 0 || slices.ContainsFunc(st.frames, func(id int) bool { return f.callers[id] })
		return above && !a.explained(st)
	})
	return stats.SignFlip(minus(both[1], both[0]), a.seed) <= neighbourP
}

func (a *attributor) add(f Function, of *function) {
	if whole := &a.out.Total; whole.Low > 0 {
		f.Share = f.Rose.More / whole.More
	}
	if !f.Deep {
		a.named[of.id] = true
	}
	a.out.Named = append(a.out.Named, f)
}

// describe tells of a function what explains it: its rise within the stacks that
// which chooses, by what really ran, and by who called.
func (a *attributor) describe(f *function, which func(*stack) bool) Function {
	name := a.names[f.id]
	out := Function{Name: name, Was: a.was[name], Own: a.change(f.flat, minus(f.flat[1], f.flat[0])), Cum: a.change(f.cum, minus(f.cum[1], f.cum[0]))}
	inside, from := map[string]float64{}, map[string]float64{}
	for _, st := range a.stacks {
		if !which(st) {
			continue
		}
		more := minus(st.cost[1], st.cost[0]).mean()
		if inside[st.leaf] += more; len(st.frames) > 0 {
			at := slices.Index(st.frames, f.id)
			if at+1 < len(st.frames) {
				from[a.names[st.frames[at+1]]] += more
			}
		}
	}
	for i, p := range byMore(inside) {
		if i < partsMax && p.More > 0 && p.Name != name {
			out.In = append(out.In, p)
		}
	}
	if callers := byMore(from); len(callers) > 0 {
		out.From = callers[0].Name
	}
	return out
}

func byMore(of map[string]float64) (parts []Part) {
	for name, more := range of {
		parts = append(parts, Part{name, more})
	}
	slices.SortFunc(parts, func(x, y Part) int { return cmp.Or(cmp.Compare(y.More, x.More), cmp.Compare(x.Name, y.Name)) })
	return parts
}
