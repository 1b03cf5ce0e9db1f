package replay

import (
	"fmt"
	"slices"
)

// Tolerances within which allocations of repeats count as the same, and above which
// they count as more than a baseline's: a share, and a floor for what is next to
// nothing, where a share would be noise.
const (
	AllocShare      = 0.01
	AllocFloor      = 0.005 // allocations a record
	AllocFloorBytes = 2.0   // bytes a record
	KeptFloor       = 32.0  // bytes a record that stay: above what one slab of a connection is (256 KiB, 23 B a record), which an entry pins or not
)

// Unequal is a counter whose repeats do not agree.
type Unequal struct {
	Name   string
	Counts []int64
	Core   bool // it must agree, or nothing can be said
}

func (u Unequal) String() string { return fmt.Sprintf("%s: %d", u.Name, u.Counts) }

// Merge makes one set of the repeats of a replay. Counters that do not agree are
// left out and named. Allocations agree within their tolerance, and the lowest
// counts. An error means that the sets are not repeats of the same replay.
func Merge(sets []*Set) (*Set, []Unequal, error) {
	if len(sets) == 0 {
		return nil, nil, fmt.Errorf("%w: none given", ErrSet)
	}
	out, first := *sets[0], sets[0]
	out.Counters = nil
	var bad []Unequal
	for _, s := range sets[1:] {
		if s.Workload != first.Workload || s.Go != first.Go || s.Arch != first.Arch || s.Commit != first.Commit || len(s.Counters) != len(first.Counters) {
			return nil, nil, fmt.Errorf("%w: repeats of different replays", ErrSet)
		}
	}
	for i := range first.Counters {
		c := first.Counters[i]
		var counts []int64
		for _, s := range sets {
			x := s.Find(c.Name)
			if x == nil || x.Records != c.Records {
				return nil, nil, fmt.Errorf("%w: repeats of different replays: %s", ErrSet, c.Name)
			}
			counts = append(counts, x.Count)
		}
		m, _ := c.Metric()
		low, high := c, c
		low.Count, high.Count = slices.Min(counts), slices.Max(counts)
		if low.Count != high.Count && (m.Kind != Alloc || Exceeds(&low, &high)) {
			bad = append(bad, Unequal{c.Name, counts, m.Core})
			continue
		}
		out.Counters = append(out.Counters, low)
	}
	return &out, bad, nil
}

// Exceeds says whether an allocation counter is above another by more than the
// tolerance.
func Exceeds(base, head *Counter) bool {
	floor, share := AllocFloor, AllocShare
	switch m, _ := base.Metric(); m.Name {
	case metrics[allocBytes].Name:
		floor = AllocFloorBytes
	case metrics[keptBytes].Name:
		floor, share = KeptFloor, 0
	}
	more := head.Value() - base.Value()
	return more > floor && more > share*base.Value()
}
