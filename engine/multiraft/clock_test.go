package multiraft

import (
	"testing"
	"time"

	"dyno/engine/ids"
)

// TestClock compares a node's clock at 100 hours with those of others, in hours;
// -1 stands for a node that was not heard.
func TestClock(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	for _, c := range []struct {
		others    []int64
		now, past int64
		sure      bool
	}{
		{nil, 100, 100, true},
		{[]int64{100, 100}, 100, 100, true},
		{[]int64{3, 3}, 3, 3, true},         // this one is ahead
		{[]int64{300, 300}, 300, 300, true}, // this one is behind
		{[]int64{100, 3}, 100, 100, true},
		{[]int64{100, 300}, 100, 100, true},
		{[]int64{100, -1}, 100, 100, true},
		{[]int64{3, -1}, 100, 3, true}, // one of two: which, nobody knows
		{[]int64{300, -1}, 100, 100, true},
		{[]int64{-1, -1}, 100, 100, false},
		{[]int64{100}, 100, 100, true},
		{[]int64{-1}, 100, 100, false},
		{[]int64{3, 3, 300, 300}, 100, 100, true},
		{[]int64{3, 3, 3, 300}, 3, 3, true},
		{[]int64{3, 3, -1, -1}, 3, 3, true},
		{[]int64{3, -1, -1, -1}, 100, 3, false},
		{[]int64{3, 3, 100}, 100, 3, true},
	} {
		m := &Manager{cfg: Config{NowMS: func() int64 { return 100 * hour }, Tick: TickDefault}}
		m.alive.m = m
		m.alive.now.Store(1000)
		for i, h := range c.others {
			n := &neighbor{id: ids.NodeID(i + 2)}
			switch {
			case h == -1 && i%2 == 0: // never heard
			case h == -1:
				n.clock.Store(&clockAt{ms: 7 * hour, tick: 1000 - downTicks})
			default: // two ticks ago
				n.clock.Store(&clockAt{ms: h*hour - 2*TickDefault.Milliseconds(), tick: 998})
			}
			m.alive.nodes = append(m.alive.nodes, n)
		}
		got := m.Clock()
		if got.Now != c.now*hour || got.Past != c.past*hour || got.Sure != c.sure || got.Off != time.Duration(got.Off/time.Hour)*time.Hour {
			t.Errorf("others at %v: now %v, past %v, sure %v, off %v; want %d, %d, %v", c.others,
				float64(got.Now)/float64(hour), float64(got.Past)/float64(hour), got.Sure, got.Off, c.now, c.past, c.sure)
		}
	}
}

// A clock that is off by no more than ClockSlack is taken as it is.
func TestClockSlack(t *testing.T) {
	for _, off := range []time.Duration{-ClockSlack - 1e6, -ClockSlack, 0, ClockSlack, ClockSlack + 1e6} {
		m := &Manager{cfg: Config{NowMS: func() int64 { return 1e12 + off.Milliseconds() }, Tick: TickDefault}}
		for id := range ids.NodeID(2) {
			n := &neighbor{id: id + 2}
			n.clock.Store(&clockAt{ms: 1e12})
			m.alive.nodes = append(m.alive.nodes, n)
		}
		want := int64(1e12)
		if off.Abs() <= ClockSlack {
			want += off.Milliseconds()
		}
		if got := m.Clock(); got.Now != want || got.Off != off || got.Past != min(want, 1e12) {
			t.Errorf("a clock off by %v: %+v, want now %d", off, got, want)
		}
	}
}
