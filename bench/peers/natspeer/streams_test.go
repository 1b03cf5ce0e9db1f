package natspeer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A request that is never answered costs one attempt, not all the time there is.
func TestUntilAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), streamsWait)
		defer cancel()
		asked := 0
		err := until(ctx, func(ctx context.Context) error {
			if asked++; asked == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		if err != nil || asked != 2 {
			t.Errorf("asked %d times: %v", asked, err)
		}
	})
}

// Giving up tells why, and what the last answer was.
func TestUntilGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, last := errors.New("not ready in time"), errors.New("no leader yet")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, late)
		defer cancel()
		err := until(ctx, func(context.Context) error { return last })
		if !errors.Is(err, late) || !errors.Is(err, last) {
			t.Errorf("%v", err)
		}
	})
}
