package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// One works at a time, in the order of their places, and those that need fewer
// turns do not stop the others.
func TestRelayTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(4)
		var mu sync.Mutex // of nothing but order: the relay lets one in at a time
		var order strings.Builder
		for place, rounds := range []int{2, 3, 1, 4} {
			go func() {
				defer r.leave(place)
				for range rounds {
					r.pass(place)
					if err := r.take(t.Context(), place); err != nil {
						t.Error(err)
					}
					if !mu.TryLock() {
						t.Error("two have the turn")
						return
					}
					fmt.Fprint(&order, place)
					mu.Unlock()
				}
			}()
		}
		synctest.Wait()
		if got := order.String(); got != "0123"+"013"+"13"+"3" {
			t.Errorf("turns went to %s", got)
		}
	})
}

// Who gives up while it waits takes no turn with it.
func TestRelayGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(2)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.take(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := r.take(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r.pass(0)
		r.leave(1) // with a turn that it never took
		for range 3 {
			if err := r.take(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			r.pass(0)
		}
	})
}
