package attribute

import (
	"cmp"
	"slices"

	"dyno/bench/stats"
)

// neighbourP is the p-value at which a neighbour counts as cheaper. Nothing is named
// because of it: it can only clear a function.
const neighbourP = 0.05

// cluster is functions whose costs moved between each other.
type cluster struct {
	rose   *function   // the one that would be named
	others []*function // what its rise is set against
	diff   costs       // of all, head less base
}

// shifts sets the rise of each function against falls of functions that it calls or
// that call it: code that was moved from one to the other, and calls that were
// dissolved or split off. rising is in order of size, the largest first; every
// function is in one cluster at most.
func (a *attributor) shifts(rising []*function) []*cluster {
	in := map[int]*cluster{}
	var all []*cluster
	for _, f := range rising {
		c := in[f.id]
		if c == nil {
			c = &cluster{rose: f, diff: minus(f.flat[1], f.flat[0])}
			in[f.id] = c
			all = append(all, c)
		}
		for _, g := range a.fallen(f) {
			if stats.HodgesLehmann(c.diff) <= 0 {
				break // covered
			}
			other := in[g.id]
			switch {
			case other == nil:
				c.others = append(c.others, g)
				c.diff.add(minus(g.flat[1], g.flat[0]))
				in[g.id] = c
			case other != c && stats.HodgesLehmann(other.diff) < 0: // more fell there than rose
				other.others = append(other.others, c.rose)
				other.others = append(other.others, c.others...)
				other.diff.add(c.diff)
				for _, m := range append(c.others, c.rose) {
					in[m.id] = other
				}
				all = slices.DeleteFunc(all, func(x *cluster) bool { return x == c })
				c = other
			}
		}
	}
	return all
}

// fallen are the neighbours of f that became cheaper, the largest fall first.
func (a *attributor) fallen(f *function) (list []*function) {
	for id := range a.functions {
		g := a.functions[id]
		if id == f.id || !f.callers[id] && !f.callees[id] {
			continue
		}
		if stats.SignFlip(minus(g.flat[0], g.flat[1]), a.seed) <= neighbourP {
			list = append(list, g)
		}
	}
	slices.SortStableFunc(list, func(x, y *function) int {
		return cmp.Compare(minus(x.flat[1], x.flat[0]).mean(), minus(y.flat[1], y.flat[0]).mean())
	})
	return list
}
