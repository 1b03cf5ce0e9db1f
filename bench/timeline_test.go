package bench

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func report(t *testing.T, line *timeline, acks ...ack) {
	t.Helper()
	raw, err := json.Marshal(steadyNews{Acks: acks})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := line.hear(raw); err != nil {
		t.Fatal(err)
	}
}

// A partition takes records again with the first answer to one that was sent after
// the kill: those that were under way before it prove nothing.
func TestTimelineMoments(t *testing.T) {
	line := newTimeline(2)
	report(t, line, ack{0, 90, 95}, ack{0, 98, 130}, ack{0, 99, 131}, ack{0, 110, 140}, ack{0, 120, 141}, ack{1, 90, 91})
	if at, ok := line.sentAfter(0, 100); !ok || at != 140 {
		t.Errorf("a record sent after 100 was acknowledged at %d, %v; want 140", at, ok)
	}
	if at, ok := line.ackedAfter(0, 100); !ok || at != 130 {
		t.Errorf("the first acknowledgement after 100 at %d, %v; want 130", at, ok)
	}
	for _, find := range []func(int, int64) (int64, bool){line.sentAfter, line.ackedAfter} {
		if at, ok := find(1, 100); ok {
			t.Errorf("partition 1 had nothing after 100, found %d", at)
		}
	}
	if _, err := line.hear([]byte(`{"acks":[{"p":2,"s":1,"a":2}]}`)); err == nil {
		t.Error("a partition that there is not was taken")
	}
}

// A stall counts from the edge it began before, to the edge it did not end before,
// and of the partition that stood longest.
func TestTimelineStall(t *testing.T) {
	for name, c := range map[string]struct {
		acks [][2]int64 // partition, answer
		want time.Duration
	}{
		"between two":              {[][2]int64{{0, 90}, {0, 110}, {0, 150}, {0, 190}, {1, 120}, {1, 140}, {1, 170}, {1, 195}}, 40},
		"since the beginning":      {[][2]int64{{0, 90}, {0, 160}, {0, 190}, {1, 110}, {1, 150}, {1, 190}}, 60},
		"until the end":            {[][2]int64{{0, 110}, {0, 150}, {0, 199}, {1, 110}, {1, 120}, {1, 260}}, 80},
		"a partition that is mute": {[][2]int64{{0, 110}, {0, 150}, {0, 190}}, 100},
	} {
		line := newTimeline(2)
		for _, a := range c.acks {
			report(t, line, ack{int32(a[0]), a[1] - 5, a[1]})
		}
		if got := line.stall(100, 200); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestTimelineAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := newTimeline(3)
		since := func(p int) (int64, bool) { return line.sentAfter(p, 100) }
		type result struct {
			at  []int64
			err error
		}
		done := make(chan result, 1)
		go func() {
			at, err := line.await(t.Context(), []int{2, 0}, time.Minute, since)
			done <- result{at, err}
		}()
		synctest.Wait()
		report(t, line, ack{0, 101, 110}, ack{1, 101, 111})
		synctest.Wait()
		report(t, line, ack{0, 102, 112}, ack{2, 99, 113}, ack{2, 103, 120})
		if r := <-done; r.err != nil || !slices.Equal(r.at, []int64{120, 110}) {
			t.Errorf("%v, %v", r.at, r.err)
		}
		var stands *standstill
		begun := time.Now()
		if _, err := line.await(t.Context(), []int{0, 1, 2}, time.Minute, func(p int) (int64, bool) { return 1, p == 0 }); !errors.As(err, &stands) ||
			stands.partition != 1 || stands.of != 2 || time.Since(begun) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := line.await(ctx, []int{0}, time.Minute, func(int) (int64, bool) { return 0, false }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
