//go:build mutants

package multiraft

import (
	"testing"
	"testing/synctest"
	"time"

	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
)

// TestMutantsLinger counts how long proposals wait, in time that only passes by waiting.
func TestMutantsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if err := SetMutant(""); err != nil {
				t.Error(err)
			}
		}()
		m := single(t, NewMemoryLog())
		g := open(t, m, 1, replicatest.NewMachine())
		want(t, propose(t, g, "warm", replica.WaitCommit), nil)
		for _, c := range []struct {
			name string
			each time.Duration
		}{{"", 0}, {"linger:3000", 3 * time.Microsecond}, {"early-promote", 0}} {
			if err := SetMutant(c.name); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			for range 10 {
				want(t, propose(t, g, "x", replica.WaitCommit), nil)
			}
			if d := time.Since(begun); d != 10*c.each {
				t.Errorf("%q: ten proposals, one after another, took %v, want %v", c.name, d, 10*c.each)
			}
		}
		if SetMutant("linger") == nil || SetMutant("no-such:1") == nil {
			t.Error("a mutant without its size, or of no name, was accepted")
		}
		m.Close()
	})
}
