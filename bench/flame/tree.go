package flame

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/google/pprof/profile"
)

// ErrEmpty says that a profile holds no samples that took anything.
var ErrEmpty = errors.New("the profile is empty")

// profileBytesMax bounds what Read takes in; a CPU profile of a broker is below 1 MiB.
const profileBytesMax = 64 << 20

// Read reads a profile, compressed or not. Error: ErrEmpty.
func Read(path string) (*profile.Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	defer f.Close()
	p, err := profile.Parse(io.LimitReader(f, profileBytesMax))
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	if total(p) <= 0 {
		return nil, fmt.Errorf("read profile: %w", ErrEmpty)
	}
	return p, nil
}

// valueIndex is which value of a sample counts: CPU time where there is one.
func valueIndex(p *profile.Profile) int {
	at := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "cpu" })
	if at < 0 {
		at = len(p.SampleType) - 1
	}
	return at
}

func total(p *profile.Profile) (sum int64) {
	at := valueIndex(p)
	for _, s := range p.Sample {
		sum += s.Value[at]
	}
	return sum
}

// sides are what a frame costs in base and in head; base is 0 where one profile is
// drawn.
type sides [2]float64

func (s *sides) add(o sides) { s[0], s[1] = s[0]+o[0], s[1]+o[1] }

// node is a function as it was called on one path.
type node struct {
	name     string
	all      sides // with what it called
	self     sides
	children map[string]*node
}

func (n *node) child(name string) *node {
	c := n.children[name]
	if c == nil {
		c = &node{name: name, children: map[string]*node{}}
		n.children[name] = c
	}
	return c
}

// sorted is the children by name, so that both sides of a difference and two drawings
// of one profile have the same order.
func (n *node) sorted() []*node {
	out := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	return out
}

// function is one function over all its paths.
type function struct {
	name      string
	all, self sides
}

// graph is the stacks of one or two profiles.
type graph struct {
	root      *node
	functions map[string]*function
}

func newGraph() *graph {
	return &graph{root: &node{name: "all", children: map[string]*node{}}, functions: map[string]*function{}}
}

// add puts the stacks of a side in. Its whole profile comes to cost.
func (g *graph) add(p *profile.Profile, side int, cost float64) error {
	whole := total(p)
	if whole <= 0 {
		return ErrEmpty
	}
	at := valueIndex(p)
	for _, s := range p.Sample {
		var v sides
		v[side] = cost * float64(s.Value[at]) / float64(whole)
		g.stack(names(s), v)
	}
	return nil
}

func (g *graph) stack(names []string, v sides) {
	n := g.root
	n.all.add(v)
	seen := map[string]bool{} // a function that calls itself counts once
	for _, name := range names {
		n = n.child(name)
		n.all.add(v)
		f := g.functions[name]
		if f == nil {
			f = &function{name: name}
			g.functions[name] = f
		}
		if !seen[name] {
			seen[name] = true
			f.all.add(v)
		}
	}
	n.self.add(v)
	if len(names) > 0 {
		g.functions[names[len(names)-1]].self.add(v)
	}
}

// names is a sample's stack from the outside in. A location lists what was inlined
// into it first (profile.proto).
func names(s *profile.Sample) []string {
	var out []string
	for i := len(s.Location) - 1; i >= 0; i-- {
		l := s.Location[i]
		for k := len(l.Line) - 1; k >= 0; k-- {
			if f := l.Line[k].Function; f != nil {
				out = append(out, f.Name)
			}
		}
		if len(l.Line) == 0 {
			out = append(out, fmt.Sprintf("%#x", l.Address))
		}
	}
	return out
}
