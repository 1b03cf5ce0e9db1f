package loadgen

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// NewProgress returns a Config.Progress that shows life on w: one line that rewrites itself on a terminal, a JSON line per second
// otherwise. done removes the line. Both are called from one goroutine at a time.
func NewProgress(w io.Writer, terminal bool) (report func(Progress), done func()) {
	if !terminal {
		enc := json.NewEncoder(w)
		// A progress line that cannot be written is no reason to end a measurement.
		return func(p Progress) { _ = enc.Encode(&p) }, func() {}
	}
	bar := progressbar.NewOptions64(1000,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(0),
	)
	report = func(p Progress) {
		bar.Describe(p.line())
		_ = bar.Set64(p.permille())
	}
	return report, func() { _ = bar.Clear() }
}

func (p *Progress) permille() int64 {
	switch {
	case (p.Phase == "verify" || p.Phase == modeRead) && p.Sent > 0:
		return min(999, p.Acked*1000/p.Sent)
	case p.Of > 0:
		return min(999, int64(p.Elapsed*1000/p.Of))
	}
	return 0
}

func (p *Progress) line() string {
	switch p.Phase {
	case "probe":
		return "probe the generator"
	case "verify":
		return fmt.Sprintf("verify %d of %d", p.Acked, p.Sent)
	case modeRead:
		return fmt.Sprintf("read %d of %d  %9.0f msg/s", p.Acked, p.Sent, p.Rate)
	}
	return fmt.Sprintf("%-7s %5.0fs  %9.0f msg/s  p99 %s  %d acked", p.Phase, p.Elapsed.Round(time.Second).Seconds(), p.Rate,
		ms(p.P99), p.Acked)
}
