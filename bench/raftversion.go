package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dyno/bench/raftcell"
	"dyno/bench/record"
)

const (
	raftQuestion = "go.etcd.io/raft v3.6.0 or v3.7.0: what does it cost a leader to propose and a follower to take an entry of 256 B, 4 KiB, 64 KiB and 1 MiB?"
	raftExpected = "v3.7.0 copies every proposed entry and its types are protobuf's own: a proposal costs as much as a copy, 10 us at 64 KiB and 100 us at 1 MiB, where v3.6.0 " +
		"takes the slice it is given, half a microsecond whatever the size. So from 64 KiB on v3.6.0 proposes at least five times as fast. At 256 B the two differ by less than half. " +
		"A follower takes what it is given in either version."

	raftTimes    = 5   // v3.6.0 proposes as fast, at 64 KiB
	raftOld      = 3.6 // dyno's own, and the one of dyno-peers
	raftNew      = 3.7
	raftRun      = time.Second
	raftRunQuick = 200 * time.Millisecond
)

var raftSizes = []int{256, 4 * kib, 64 * kib, mib}

var raftUnits = []record.Unit{
	{Name: "propose", Unit: "ns/entry", Better: "lower"},
	{Name: "proposals", Unit: "1/s", Better: "higher"},
	{Name: "follow", Unit: "ns/entry", Better: "lower"},
	{Name: "follows", Unit: "1/s", Better: "higher"},
	{Name: "alloc", Unit: "B/entry", Better: "lower"},
	{Name: "entries", Unit: "entries"},
}

var raftColumns = []column{
	{"propose", "propose ns", 1, "%.0f"}, {"follow", "follow ns", 1, "%.0f"}, {"alloc", "heap B/entry", 1, "%.0f"}, {"entries", "entries", 1, "%.0f"},
}

func raftVersionExperiment(cfg ExperimentConfig) Experiment {
	run := raftRun
	if cfg.Quick {
		run = raftRunQuick
	}
	e := Experiment{Name: "raft-version", Question: raftQuestion, Expectation: raftExpected, Units: raftUnits, Columns: raftColumns}
	reps := cfg.headline(slowReps)
	e.Config = map[string]any{"quick": cfg.Quick, "seed": cfg.Seed, "members": 3, "disk": "none", "network": "none", "run_s": run.Seconds(),
		"repetitions_headline": reps, "repetitions": reps, "propose_is": "one call of RawNode.Propose, by the leader of three members in one goroutine",
		"follow_is": "what one follower spends on an entry: Step, Ready, append to its log in memory, Advance"}
	for _, size := range raftSizes {
		name := sizeName(size)
		for _, v := range []struct {
			version float64
			peers   bool
		}{{raftOld, false}, {raftNew, true}} {
			word := strconv.FormatFloat(v.version, 'f', 1, 64)
			e.Cells = append(e.Cells, Cell{Arm: fmt.Sprintf("%s/v%s", name, word), Block: name, Repetitions: reps, NeedsPeers: v.peers,
				Params: map[string]string{paramBlock: name, "size": strconv.Itoa(size), "version": "v" + word},
				Measure: func(ctx context.Context, b *bed) error {
					return b.raft(ctx, "v"+word+".", v.peers, raftcell.Spec{SizeBytes: size, Run: run})
				}})
		}
	}
	for _, size := range []int{64 * kib, mib} {
		name := sizeName(size)
		e.Targets = append(e.Targets, Goal{Name: "proposals/s of " + name + ", v3.6 against v3.7", Arm: name + "/v3.6", Against: name + "/v3.7", Measure: "proposals", AtLeast: raftTimes})
	}
	e.Targets = append(e.Targets, Goal{Name: "entries/s of a follower at 64KiB, v3.7 against v3.6", Arm: "64KiB/v3.7", Against: "64KiB/v3.6", Measure: "follows", AtLeast: 0.5})
	e.Answer = raftAnswer
	return e
}

// raft measures one version in a fresh process: dyno's own in dyno, the other in
// dyno-peers. One that was built with another version says nothing.
func (b *bed) raft(ctx context.Context, version string, peers bool, spec raftcell.Spec) error {
	b.lab.progress.say(b.name, "measure", "")
	j := job{name: "the measuring process", argv: b.lab.child, work: raftcell.Work, spec: spec}
	if peers {
		j.name, j.argv = "dyno-peers", []string{b.peers, "child"}
	}
	raw, err := runJobs(ctx, []job{j}, nil)
	if err != nil {
		return err
	}
	var res raftcell.Result
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of raft: %w", err)
	}
	if !strings.HasPrefix(res.Version, version) {
		b.rep.Status, b.rep.Problem = record.Invalid, fmt.Sprintf("%s was built with raft %s, want %s0", j.name, res.Version, version)
	}
	b.rep.Values = map[string]float64{"propose": res.ProposeNs, "proposals": 1e9 / res.ProposeNs, "follow": res.FollowNs, "follows": 1e9 / res.FollowNs,
		"alloc": res.AllocBytes, "entries": float64(res.Entries)}
	return nil
}

// raftAnswer is how many times as long the newer version takes, by size.
func raftAnswer(run *record.Run) (string, []record.Factor) {
	var factors []record.Factor
	var words []string
	for _, size := range raftSizes {
		name := sizeName(size)
		for _, m := range []struct{ measure, word string }{{"propose", "proposal"}, {"follow", "entry of a follower"}} {
			f, ok := factor(run, fmt.Sprintf("ns of a %s of %s, v3.7 over v3.6", m.word, name), m.measure, name+"/v3.7", name+"/v3.6", 0)
			if !ok {
				continue
			}
			factors = append(factors, f)
			words = append(words, fmt.Sprintf("%s of %s %s", m.word, name, times(f.Ratio)))
		}
	}
	if len(words) == 0 {
		return "", nil
	}
	return "what v3.7 takes of what v3.6 takes: " + strings.Join(words, ", "), factors
}
