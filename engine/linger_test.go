package engine

import (
	"testing"
	"time"

	"dyno/engine/events"
)

// TestDrainLingers: a node that has handed everything over goes on answering while
// somebody asks it where to go, but not for ever, and at once where nobody is
// connected.
func TestDrainLingers(t *testing.T) {
	t.Parallel()
	lingers := make(chan struct{}, 10)
	c := newClusterBed(t, 3, func(cfg *Config) {
		cfg.Listener = listenerFunc(func(e events.Event) {
			if d, ok := e.(events.DrainPhase); ok && d.Phase == "linger" {
				lingers <- struct{}{}
			}
		})
	})
	if err := c.nodes[2].Drain(c.ctx()); err != nil {
		t.Fatal(err)
	}
	c.nodes[2].notices.Close() // what was to be told was told
	if len(lingers) > 0 {
		t.Error("it lingers without clients")
	}
	cl := (&bed{t: t, node: c.nodes[0]}).client()
	if err := cl.Ping(c.ctx()); err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- c.nodes[0].Drain(c.ctx()) }()
	await(t, "it lingers", lingers)
	began, asked := time.Now(), 0
	for done := false; !done; {
		select {
		case err := <-left:
			if err != nil {
				t.Error(err)
			}
			done = true
		default:
			if err := cl.Ping(c.ctx()); err != nil {
				t.Errorf("a node that lingers: %v", err)
			}
			asked++
		}
	}
	if d := time.Since(began); d < lingerQuiet || d > 10*lingerMax || asked == 0 {
		t.Errorf("it answered %d times in %v", asked, d)
	}
}
