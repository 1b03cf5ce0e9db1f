package attribute

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// Side is one program's part of a block.
type Side struct {
	// Profiles are those of all brokers in all runs of the side.
	Profiles []*profile.Profile
	// CPU is what the brokers of those runs used in all, in CPU-seconds per million
	// records. The profiles are scaled to it, so it does not matter which part of a
	// run they cover.
	CPU float64
}

// Block is one block of paired runs.
type Block struct{ Base, Head Side }

// stack is one way in which the CPU was reached, with its cost to both sides.
type stack struct {
	frames []int    // functions, the one that is blamed first, then its callers
	leaf   string   // the function that really ran: a library's, perhaps
	cost   [2]costs // CPU-seconds per million records: of base, of head
}

// costs has one value for each block.
type costs []float64

func (c costs) add(o costs) {
	for i, v := range o {
		c[i] += v
	}
}

func minus(a, b costs) costs {
	d := slices.Clone(a)
	for i, v := range b {
		d[i] -= v
	}
	return d
}

func (c costs) mean() float64 {
	sum := 0.0
	for _, v := range c {
		sum += v
	}
	return sum / float64(len(c))
}

// table is all stacks of all blocks.
type table struct {
	own    string // prefix of the functions to blame; "" all are
	blocks int
	names  []string
	ids    map[string]int
	stacks []*stack
	byKey  map[string]*stack
}

// read takes in all profiles. Error: ErrProfile.
func read(blocks []Block, own string) (*table, error) {
	t := &table{own: own, blocks: len(blocks), ids: map[string]int{}, byKey: map[string]*stack{}}
	for n := range blocks {
		for i, side := range []*Side{&blocks[n].Base, &blocks[n].Head} {
			if err := t.side(n, i, side); err != nil {
				return nil, fmt.Errorf("block %d: %w", n+1, err)
			}
		}
	}
	return t, nil
}

func (t *table) side(block, side int, s *Side) error {
	if !(s.CPU > 0) || math.IsInf(s.CPU, 1) {
		return fmt.Errorf("%w: %v CPU-seconds per million records", ErrProfile, s.CPU)
	}
	total := 0.0
	for _, p := range s.Profiles {
		at, err := cpuOf(p)
		if err != nil {
			return err
		}
		for _, sample := range p.Sample {
			total += float64(sample.Value[at])
		}
	}
	if total == 0 {
		return fmt.Errorf("%w: no sample in %d profiles", ErrProfile, len(s.Profiles))
	}
	for _, p := range s.Profiles {
		at, _ := cpuOf(p)
		for _, sample := range p.Sample {
			if v := float64(sample.Value[at]); v > 0 {
				t.stack(sample).cost[side][block] += v / total * s.CPU
			}
		}
	}
	return nil
}

// cpuOf is which value of a sample is CPU time.
func cpuOf(p *profile.Profile) (int, error) {
	for i, t := range p.SampleType {
		if t.Type == "cpu" {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: it has no values of type cpu", ErrProfile)
}

// stack is the entry of a sample's functions. Inlined calls are frames like others:
// Go's profiles know them, so inlining by the compiler moves nothing here.
func (t *table) stack(s *profile.Sample) *stack {
	var names []string
	for _, loc := range s.Location {
		for _, line := range loc.Line {
			if line.Function != nil {
				names = append(names, line.Function.Name)
			}
		}
	}
	if len(names) == 0 {
		names = []string{"unknown"}
	}
	leaf := names[0]
	if at := slices.IndexFunc(names, t.ours); at > 0 {
		names = names[at:]
	}
	key := leaf + "\n" + strings.Join(names, "\n")
	if st := t.byKey[key]; st != nil {
		return st
	}
	st := &stack{leaf: leaf, cost: [2]costs{make(costs, t.blocks), make(costs, t.blocks)}}
	for _, name := range names {
		st.frames = append(st.frames, t.id(name))
	}
	t.byKey[key] = st
	t.stacks = append(t.stacks, st)
	return st
}

func (t *table) ours(name string) bool { return strings.HasPrefix(name, t.own) }

func (t *table) id(name string) int {
	id, ok := t.ids[name]
	if !ok {
		id = len(t.names)
		t.ids[name] = id
		t.names = append(t.names, name)
	}
	return id
}

// sum adds up the stacks that which chooses.
func (t *table) sum(which func(*stack) bool) (both [2]costs) {
	both = [2]costs{make(costs, t.blocks), make(costs, t.blocks)}
	for _, st := range t.stacks {
		if which(st) {
			both[0].add(st.cost[0])
			both[1].add(st.cost[1])
		}
	}
	return both
}

// function is one function's cost and its neighbours.
type function struct {
	id      int
	flat    [2]costs // alone
	cum     [2]costs // with all that it calls
	callers map[int]bool
	callees map[int]bool
}

// functions adds the stacks up by function.
func (t *table) functions() []*function {
	fs := make([]*function, len(t.names))
	for id := range fs {
		f := &function{id: id, callers: map[int]bool{}, callees: map[int]bool{}}
		for i := range 2 {
			f.flat[i], f.cum[i] = make(costs, t.blocks), make(costs, t.blocks)
		}
		fs[id] = f
	}
	for _, st := range t.stacks {
		for i, id := range st.frames {
			f := fs[id]
			if i+1 < len(st.frames) && st.frames[i+1] != id {
				f.callers[st.frames[i+1]] = true
				fs[st.frames[i+1]].callees[id] = true
			}
			if slices.Contains(st.frames[:i], id) {
				continue // recursion counts once
			}
			for side := range 2 {
				f.cum[side].add(st.cost[side])
				if i == 0 {
					f.flat[side].add(st.cost[side])
				}
			}
		}
	}
	return fs
}
