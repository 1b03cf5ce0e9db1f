package main

import (
	"testing"

	"dyno/bench"
)

// The suite peers takes how often and from which seed; both defaults are the
// experiment's own.
func TestPeersTakeRepetitionsAndSeed(t *testing.T) {
	opt := bench.Options{Child: []string{"bin/dyno", "bench", "child"}}
	for _, c := range []struct {
		args []string
		cfg  bench.SuiteConfig
		reps int
	}{
		{nil, bench.SuiteConfig{Repetitions: 3, Seed: 1}, 0},
		{[]string{"--repetitions", "4", "--seed", "9"}, bench.SuiteConfig{Repetitions: 4, Seed: 9}, 4},
	} {
		cmd := newBenchCommand()
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		got, err := peersConfig(cmd, &c.cfg, &opt)
		if err != nil || got.Repetitions != c.reps || got.Seed != c.cfg.Seed || got.Peers != "bin/dyno-peers" || len(got.Only) != 1 {
			t.Errorf("%v: %+v, %v", c.args, got, err)
		}
	}
}
