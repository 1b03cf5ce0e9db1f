package bench

import (
	"strings"
	"testing"
)

// The second in which the warm-up ends is none of the measured ones, whatever the
// generator calls it: the latency log begins after it, and both charts say so.
func TestWarmupEndsWhereTheLogBegins(t *testing.T) {
	measured := new(struct{})
	seconds := []second{
		{StartNs: 0, EndNs: 1e9, Sent: 100, Acked: 100},
		{StartNs: 1e9, EndNs: 2e9, Sent: 100, Acked: 100},
		{StartNs: 2e9, EndNs: 3e9, Sent: 110, Acked: 100, Response: measured},
	}
	if from := measuredFrom(seconds); from != 2 {
		t.Errorf("measured from %v s on, want 2", from)
	}
	if f := rateFigure(seconds, 0); !strings.Contains(f.Text, "the first 2 s are warm-up") {
		t.Errorf("%q", f.Text)
	}
}
