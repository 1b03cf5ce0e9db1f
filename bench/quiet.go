package bench

import (
	"context"
	"fmt"
	"time"

	"dyno/bench/record"
)

// quietRule says when the machine counts as quiet: the CPU share that is in use
// over one window, and how long to wait for it.
type quietRule struct {
	Share   float64       // of all cores, 0..1
	Window  time.Duration // one look
	WaitMax time.Duration
}

var defaultQuiet = quietRule{Share: 0.15, Window: 300 * time.Millisecond, WaitMax: 5 * time.Second}

// between is the rule between two repetitions: a machine that was quiet before
// the run shows it in one short look, and one that is not is noted, not waited for.
func (r quietRule) between() quietRule {
	r.Window, r.WaitMax = min(r.Window, 150*time.Millisecond), min(r.WaitMax, time.Second)
	return r
}

// waitQuiet waits until nobody else uses the machine, and returns the share that
// was in use in the last look: above rule.Share if the wait was in vain.
func waitQuiet(ctx context.Context, rule quietRule) (float64, error) {
	deadline := time.Now().Add(rule.WaitMax)
	for {
		before := record.ReadPressures()
		timer := time.NewTimer(rule.Window)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, ctx.Err()
		case <-timer.C:
		}
		share := busyShare(before, record.ReadPressures())
		if share <= rule.Share || time.Now().After(deadline) {
			return share, nil
		}
	}
}

func busyShare(before, after record.Pressures) float64 {
	total := after.TotalTicks - before.TotalTicks
	if total == 0 || after.TotalTicks < before.TotalTicks {
		return 0
	}
	return 1 - float64(after.IdleTicks-before.IdleTicks)/float64(total)
}

// requireQuiet refuses to start a run that is meant to be recorded on a busy
// machine; any other run goes on and carries the caution it returns.
func requireQuiet(ctx context.Context, rule quietRule, record bool) (caution string, err error) {
	share, err := waitQuiet(ctx, rule)
	if err != nil || share <= rule.Share {
		return "", err
	}
	text := fmt.Sprintf("other work uses %.0f %% of the CPU", 100*share)
	if record {
		return "", fmt.Errorf("%w: %s; a recorded run needs it quiet. Stop that work, or run without --record", ErrBusy, text)
	}
	return text + " before the run: the figures are lower than the machine allows", nil
}
