package bench

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"dyno/bench/record"
)

// bed is what the Measure of a cell works with: one repetition, in a fresh
// directory, with the programs to start. Measure starts its own processes and has
// ended all of them when it returns.
type bed struct {
	lab   *lab
	http  *http.Client
	dyno  []string // program and leading arguments
	peers string   // the dyno-peers program
	name  string   // of the repetition, for progress
	dir   string   // fresh; the lab removes it
	seed  uint64

	compare bool // the replicas after a load: see trial
	// overload takes a load that its cluster could not take whole for an answer.
	overload bool
	// earlier is the median of what an arm measured so far in this run; false where no
	// repetition of it was good.
	earlier func(arm, measure string) (float64, bool)

	// rep is filled in by Measure: Values, Seconds, and Status with Problem where
	// the repetition broke a promise (record.Failed) or says nothing
	// (record.Invalid). An error instead means that it could not run, unless it is an
	// ErrViolation, which says the same as record.Failed.
	rep   *record.Repetition
	phase string // of the WAL space it wrote into; "" where that is not known
}

// measureBed runs one repetition of a cell that has a Measure.
func (x *experiment) measureBed(ctx context.Context, c *Cell, t turn, dir string) (record.Repetition, error) {
	rep := record.Repetition{Number: t.number, Seed: t.seed, Status: record.OK, Values: map[string]float64{}}
	b := &bed{lab: x.lab, http: x.http, dyno: x.dyno, peers: x.peers, dir: dir, seed: t.seed,
		rep: &rep, name: t.name(c), earlier: x.ledger.median}
	begun := time.Now()
	err := c.Measure(ctx, b)
	switch {
	case errors.Is(err, ErrViolation):
		rep.Status, rep.Problem = record.Failed, err.Error()
	case err != nil:
		return rep, blameDisk(dir, err)
	}
	rep.Seconds = time.Since(begun).Seconds()
	x.phase = b.phase
	return rep, x.lab.work.settle(dir)
}

// load starts a cluster of dyno, loads it as spec says with this repetition's
// seed, and judges the outcome. up are arguments of `dyno up` beside those that
// every cluster gets.
func (b *bed) load(ctx context.Context, nodes int, spec loadSpec, up ...string) error {
	spec.Seed = b.seed
	t := &trial{lab: b.lab, http: b.http, dyno: b.dyno, name: b.name, nodes: nodes, up: up,
		dir: filepath.Join(b.dir, "cluster"), spec: spec, compare: b.compare, overload: b.overload}
	m, err := t.run(ctx)
	if err != nil {
		return err
	}
	b.phase = m.watch.phase()
	return t.judge(b.rep, m)
}
