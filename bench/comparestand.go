package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
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
	// abreast is how many runs of a block are alive at the same time: 1, or all.
	abreast() int
	// run runs so many programs once and returns an outcome for each. which names the
	// program that a process really runs.
	run(ctx context.Context, runs []laneRun, which func(pid int) (string, error)) ([]paired.Outcome, error)
}

// laneRun is one run that a lane is to make, in a directory that is empty.
type laneRun struct {
	program *program
	dir     string
	turn    paired.Turn
}

// runsPerBlock is how many runs a block has.
const runsPerBlock = 4

// single makes the run of a lane that runs one at a time, and sees how long it took.
func single(runs []laneRun, once func(laneRun) (paired.Outcome, error)) ([]paired.Outcome, error) {
	began := time.Now()
	out, err := once(runs[0])
	out.Began, out.Seconds = began, time.Since(began).Seconds()
	return []paired.Outcome{out}, err
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
	need     int64 // most bytes of the runs that are alive together
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

// badBase is an error of the base, which every head would meet.
type badBase struct{ error }

func (e *badBase) Unwrap() error { return e.error }

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

// Link makes both programs of a block, at once: a link uses one processor.
func (s *stand) Link(ctx context.Context, slot paired.Slot, t paired.Toss) (map[paired.Side]string, error) {
	s.lab.progress.say(slot.String(), "link", "")
	sides := []paired.Side{paired.Base, paired.Head}
	errs := make([]error, len(sides))
	var wg sync.WaitGroup
	for i, side := range sides {
		p := s.programs[side]
		tree := p.tree
		if t.Null {
			tree = s.programs[paired.Base].tree
		}
		wg.Go(func() { errs[i] = p.link(ctx, tree, t.Layouts[side]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, blameDisk(s.lab.work.path, err)
	}
	return map[paired.Side]string{paired.Base: s.programs[paired.Base].hash, paired.Head: s.programs[paired.Head].hash}, nil
}

// Rest lets the file system finish with what was linked.
func (s *stand) Rest(ctx context.Context, slot paired.Slot) error {
	if err := syncFS(s.lab.work.path); err != nil {
		return err
	}
	return s.lab.between(ctx, slot.String())
}

// Run lets the lane run what it runs at one time, as often as it takes.
func (s *stand) Run(ctx context.Context, turns []paired.Turn) iter.Seq2[paired.Outcome, error] {
	return func(yield func(paired.Outcome, error) bool) {
		for some := range slices.Chunk(turns, s.lane.abreast()) {
			outs, err := s.run(ctx, some)
			if err != nil {
				yield(paired.Outcome{}, err)
				return
			}
			for _, out := range outs {
				if !yield(out, nil) {
					return
				}
			}
		}
	}
}

// run gives each turn a directory of its own and takes it away again.
func (s *stand) run(ctx context.Context, turns []paired.Turn) ([]paired.Outcome, error) {
	r, first := s.lab.progress, turns[0]
	r.done, r.total = runsPerBlock*first.Done+first.Place-1, runsPerBlock*first.Of
	begun := time.Now()
	if err := s.lab.between(ctx, turnName(first)); err != nil {
		return nil, err
	}
	if err := requireFree(s.lab.work.path, s.need); err != nil {
		return nil, err
	}
	runs := make([]laneRun, len(turns))
	for i, t := range turns {
		dir, err := s.lab.work.fresh()
		if err != nil {
			return nil, err
		}
		runs[i] = laneRun{program: s.programs[t.Side], dir: dir, turn: t}
	}
	outs, err := s.lane.run(ctx, runs, s.which)
	if err != nil {
		return nil, blameDisk(s.lab.work.path, err)
	}
	for i := range outs {
		outs[i].Dir = filepath.Base(runs[i].dir)
		if err := s.lab.work.settle(runs[i].dir); err != nil {
			return nil, err
		}
	}
	for range turns {
		r.step(time.Since(begun) / time.Duration(len(turns)))
	}
	return outs, nil
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
