package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"dyno/bench/build"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
)

// lane is what one run of a program does, and what it measures.
type lane interface {
	name() string
	described() map[string]any
	metrics() []gate.Metric // that decide
	columns() []column      // of the table: what decides, then what is only printed
	units() []record.Unit   // of all that a run measures
	// check says whether a program can be asked at all. Error: ErrUsage.
	check(ctx context.Context, p *program, dir string) error
	// probe finds out what load all runs offer, from the base program.
	probe(ctx context.Context, p *program, dir string, seed uint64) (map[string]float64, error)
	// run runs a program once. which names the program that a process really runs.
	run(ctx context.Context, p *program, dir string, t paired.Turn, which func(pid int) (string, error)) (paired.Outcome, error)
}

// program is one side's program as it was linked last.
type program struct {
	side paired.Side
	tree *build.Tree
	path string
	hash string
}

// stand is paired.Stand on this machine: it links with bench/build and has a lane
// run what was linked.
type stand struct {
	lab      *lab
	lane     lane
	programs map[paired.Side]*program
	need     int64 // most bytes of one run
}

var _ paired.Stand = (*stand)(nil)

// add makes a side's program for the first time.
func (s *stand) add(ctx context.Context, side paired.Side, tree *build.Tree) error {
	p := &program{side: side, tree: tree, path: filepath.Join(s.lab.work.path, "dyno-"+string(side))} // base and head: one length
	s.programs[side] = p
	return p.link(ctx, tree, 0)
}

func (p *program) link(ctx context.Context, tree *build.Tree, layout uint32) (err error) {
	if err := os.RemoveAll(p.path); err != nil { // another file, not other bytes in the old one
		return err
	}
	if err := tree.Link(ctx, layout, p.path); err != nil {
		return err
	}
	p.hash, err = fileHash(p.path)
	return err
}

// goOn keeps the names of directories apart from those of earlier invocations.
func (s *stand) goOn(led *paired.Ledger) {
	for _, line := range led.Lines {
		if line.Run != nil {
			n, _ := strconv.Atoi(line.Run.Dir) // as workDir.fresh names them
			s.lab.work.next = max(s.lab.work.next, n)
		}
	}
}

// check has a side's program answer once what runs will ask it.
func (s *stand) check(ctx context.Context, side paired.Side) error {
	p := s.programs[side]
	s.lab.progress.say(string(side), "check", "")
	dir, err := s.lab.work.fresh()
	if err != nil {
		return err
	}
	if err := s.lane.check(ctx, p, dir); err != nil {
		if side == paired.Head && errors.Is(err, ErrUsage) {
			err = &oldProgram{err}
		}
		return fmt.Errorf("%s %s: %w", side, p.tree.Commit.Short(), blameDisk(dir, err))
	}
	return s.lab.work.settle(dir)
}

// oldProgram is an error of a head that cannot be asked what runs will ask it.
type oldProgram struct{ error }

func (e *oldProgram) Unwrap() error { return e.error }

// Probe runs the base program once.
func (s *stand) Probe(ctx context.Context, seed uint64) (map[string]float64, error) {
	dir, err := s.lab.work.fresh()
	if err != nil {
		return nil, err
	}
	load, err := s.lane.probe(ctx, s.programs[paired.Base], dir, seed)
	if err != nil {
		return nil, blameDisk(dir, err)
	}
	return load, s.lab.work.settle(dir)
}

// Link makes both programs of a block.
func (s *stand) Link(ctx context.Context, slot paired.Slot, t paired.Toss) (map[paired.Side]string, error) {
	hashes := map[paired.Side]string{}
	for _, side := range []paired.Side{paired.Base, paired.Head} {
		p := s.programs[side]
		tree := p.tree
		if t.Null {
			tree = s.programs[paired.Base].tree
		}
		s.lab.progress.say(slot.String(), "link", string(side))
		if err := p.link(ctx, tree, t.Layouts[side]); err != nil {
			return nil, blameDisk(s.lab.work.path, err)
		}
		hashes[side] = p.hash
	}
	return hashes, nil
}

// Rest lets the file system finish with what was linked.
func (s *stand) Rest(ctx context.Context, slot paired.Slot) error {
	if err := syncFS(s.lab.work.path); err != nil {
		return err
	}
	return s.lab.between(ctx, slot.String())
}

// Run gives the lane a directory of its own and takes it away again.
func (s *stand) Run(ctx context.Context, t paired.Turn) (out paired.Outcome, err error) {
	const runs = 4 // of a block
	r := s.lab.progress
	r.done, r.total = runs*t.Done+t.Place-1, runs*t.Of
	begun := time.Now()
	if err := s.lab.between(ctx, turnName(t)); err != nil {
		return out, err
	}
	if err := requireFree(s.lab.work.path, s.need); err != nil {
		return out, err
	}
	dir, err := s.lab.work.fresh()
	if err != nil {
		return out, err
	}
	out, err = s.lane.run(ctx, s.programs[t.Side], dir, t, s.which)
	if err != nil {
		return out, blameDisk(dir, err)
	}
	out.Dir = filepath.Base(dir)
	if err := s.lab.work.settle(dir); err != nil {
		return out, err
	}
	r.step(time.Since(begun))
	return out, nil
}

// turnName names a run for people.
func turnName(t paired.Turn) string {
	side := string(t.Side)
	if t.Null {
		side = "base against base"
	}
	return fmt.Sprintf("%s, run %d (%s)", t.Slot, t.Place, side)
}

// Look reads the machine.
func (s *stand) Look() paired.Reading { return paired.Look() }

// which is the hash of the program that a process runs: by the file it was started
// from, not by the name that somebody gave it.
func (s *stand) which(pid int) (string, error) {
	running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "", fmt.Errorf("which program runs: %w", err)
	}
	for _, p := range s.programs {
		if info, err := os.Stat(p.path); err == nil && os.SameFile(info, running) {
			return p.hash, nil
		}
	}
	return "neither", nil
}
