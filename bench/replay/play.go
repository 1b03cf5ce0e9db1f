package replay

import (
	"fmt"
	"runtime"

	"dyno/bench/record"
)

// clusters are what is replayed.
var clusters = []struct {
	name  string
	nodes int
}{{"three", 3}, {"one", 1}}

// settleTicks after the last step let followers learn of the last commit.
const settleTicks = 12

// Play replays the workload on each cluster and returns the counters. It blocks
// for a second or two. The caller is on the goroutine that began a synctest bubble,
// in a process of which all that allocates is the replay; see Main. An error means
// that a replay did not do what it must, whatever it cost.
func Play() (*Set, error) {
	w := newWorkload()
	s := &Set{Schema: Schema, Workload: w.String(), Commit: record.Source(), Go: runtime.Version(), Arch: runtime.GOARCH}
	for _, x := range clusters {
		if err := s.play(x.name, x.nodes, w); err != nil {
			return nil, fmt.Errorf("replay on %s: %w", x.name, err)
		}
	}
	return s, nil
}

func (s *Set) play(name string, nodes int, w *workload) error {
	c, err := openCluster(nodes)
	if err != nil {
		return err
	}
	whole := &meter{c: c}
	began := live()
	// The two warm up what is used again: lists, caches, the runtime's own.
	warm := &meter{c: c}
	for i := range w.steps[:warmSteps] {
		if err := c.produce(&w.steps[i], warm); err != nil {
			return err
		}
	}
	producing, records := &meter{c: c}, int64(0)
	for i := range w.steps[warmSteps:] {
		step := &w.steps[warmSteps+i]
		records += step.records
		if err := c.produce(step, producing); err != nil {
			return err
		}
	}
	s.add(name+"/produce", whenProducing, producing, records)
	if err := c.pass(settleTicks); err != nil {
		return err
	}
	if err := c.same(); err != nil {
		return err
	}
	if err := s.phase(name+"/fetch", whenFetching, c, w, func(m *meter) error { return c.fetchAll(w, m) }); err != nil {
		return err
	}
	err = s.phase(name+"/move", whenMoving, c, w, func(m *meter) error {
		m.start()
		defer m.stop()
		return c.toFiles()
	})
	if err != nil {
		return err
	}
	if err := s.phase(name+"/fetch-moved", whenFetching, c, w, func(m *meter) error { return c.fetchAll(w, m) }); err != nil {
		return err
	}
	whole.sum[keptBytes] = max(0, live()-began)
	s.add(name+"/whole", wholeLife, whole, w.records)
	return c.close()
}

// phase counts what f does with all records.
func (s *Set) phase(name string, list []metric, c *cluster, w *workload, f func(m *meter) error) error {
	m := &meter{c: c}
	if err := f(m); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.add(name, list, m, w.records)
	return nil
}
