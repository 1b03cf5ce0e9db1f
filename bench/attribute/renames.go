package attribute

import (
	"cmp"
	"slices"
	"strings"
)

const (
	// renameShare is the least part of all CPU time at which a function that one side
	// never ran was certainly absent there, and not only missed by the sampling.
	renameShare = 0.005
	// renameRatio bounds how unlike in cost two functions of the same purpose may be.
	renameRatio = 3
)

// rename makes one function of each pair of which one is gone and the other one
// new, so that both are compared with each other. It returns old names by new ones.
// Outer functions are paired first: that makes callers of what they call equal.
func (t *table) rename() map[string]string {
	was := map[string]string{}
	for {
		newer, older := t.pair(t.functions())
		if newer < 0 {
			return was
		}
		was[t.names[newer]] = t.names[older]
		for _, st := range t.stacks {
			for i, id := range st.frames {
				if id == older {
					st.frames[i] = newer
				}
			}
		}
	}
}

// pair finds the costliest new function with one that is gone; -1 if there is none.
func (t *table) pair(fs []*function) (newer, older int) {
	all := t.sum(func(*stack) bool { return true })
	floor := renameShare * (all[0].mean() + all[1].mean()) / 2
	only := func(side int) (list []*function) {
		for _, f := range fs {
			if f.cum[1-side].mean() == 0 && f.cum[side].mean() >= floor {
				list = append(list, f)
			}
		}
		slices.SortStableFunc(list, func(a, b *function) int { return cmp.Compare(b.cum[side].mean(), a.cum[side].mean()) })
		return list
	}
	gone := only(0)
	for _, n := range only(1) {
		best, score := -1, 0
		for _, g := range gone {
			if s := t.alike(n, g); s > score {
				best, score = g.id, s
			}
		}
		if best >= 0 {
			return n.id, best
		}
	}
	return -1, -1
}

// alike says how likely a new function is one that is gone: 0 not at all. The same
// name in another package, and the same caller, each are reason enough.
func (t *table) alike(newer, older *function) (score int) {
	ratio := newer.cum[1].mean() / older.cum[0].mean()
	if ratio > renameRatio || ratio < 1.0/renameRatio {
		return 0
	}
	if base(t.names[newer.id]) == base(t.names[older.id]) {
		score += 4
	}
	if len(newer.callers) == 0 && len(older.callers) == 0 || shares(newer.callers, older.callers) {
		score += 2
	}
	if score > 0 && shares(newer.callees, older.callees) {
		score++
	}
	return score
}

func shares(a, b map[int]bool) bool {
	for id := range a {
		if b[id] {
			return true
		}
	}
	return false
}

// base is the last part of a function's name, without package and receiver.
func base(name string) string {
	return name[strings.LastIndexAny(name, "./")+1:]
}
