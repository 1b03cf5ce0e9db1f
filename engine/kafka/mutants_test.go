//go:build mutants

package kafka

import "testing"

// TestMutants counts what each mutant wastes.
func TestMutants(t *testing.T) {
	defer func() {
		if err := SetMutant(""); err != nil {
			t.Error(err)
		}
	}()
	_, n, addr := start(t)
	topic := n.add("t", 1)
	c := dial(t, addr)
	const requests, records = 200, 3
	for _, m := range []struct {
		name  string
		turns int64 // as many times as the loop of one size
		delay int64
	}{
		{"", 0, 0},
		{"spin-batch:500", requests, 0},
		{"spin-record:500", requests * records, 0},
		{"delay:1000", 0, requests / delayEvery},
	} {
		if err := SetMutant(m.name); err != nil {
			t.Fatal(err)
		}
		for range requests {
			if e, _ := code1(t, c.ask(produceTo(9, topic, 0, -1, batch(records, 10, -1, -1, -1)))); e != 0 {
				t.Fatalf("%s: code %d", m.name, e)
			}
		}
		if got, want := dawdling.spun.Load(), m.turns*dawdling.turns.Load(); m.turns > 0 && got != want || m.turns == 0 && got != 0 {
			t.Errorf("%q: %d turns for %d batches of %d records, want %d", m.name, got, requests, records, want)
		}
		if got := dawdling.delays.Load(); got != m.delay {
			t.Errorf("%q: %d of %d requests delayed, want %d", m.name, got, requests, m.delay)
		}
	}
	for _, bad := range []string{"no-such", "spin-batch", "spin-batch:x", "delay:-1"} {
		if SetMutant(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
