// Package raftcell measures go.etcd.io/raft alone: what it costs a leader to take a
// proposal and a follower to take an entry, three members in one goroutine, their logs
// in memory and their messages handed over by reference.
//
// It names none of the library's wire types and reads their fields whichever way a
// version declares them, so one source measures several versions: it is built into
// dyno with the version that dyno has, and into dyno-peers, another module, with that
// module's.
//
// It does not measure a disk, a network or an encoding; a whole broker is measured
// elsewhere. Every entry is compared with what was proposed, at each member.
package raftcell

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"runtime"
	"runtime/debug"
	"time"

	"dyno/bench/cell"

	"go.etcd.io/raft/v3"
)

// Work is the name of the measurement in requests to a child process.
const Work = "raft"

// Spec is one measurement.
type Spec struct {
	SizeBytes int           `json:"size_bytes"` // of an entry, at least 8
	Run       time.Duration `json:"run_ns"`
}

// Result is what it gives. Times are ns of a core.
type Result struct {
	Version    string  `json:"version"` // of go.etcd.io/raft
	Entries    int64   `json:"entries"`
	ProposeNs  float64 `json:"propose_ns"`  // of one call of Propose
	FollowNs   float64 `json:"follow_ns"`   // a follower's part of one entry: Step, Ready, append and Advance
	AllocBytes float64 `json:"alloc_bytes"` // on the heap for each entry, all three members
}

const (
	members     = 3
	roundBytes  = 1 << 20 // proposals of one round of messages
	roundMost   = 64
	inflightMax = 256
	moduleName  = "go.etcd.io/raft/v3"
)

// Measure is the work of a child process.
func Measure(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	if spec.SizeBytes < 8 || spec.Run <= 0 {
		return nil, fmt.Errorf("raft: entries of %d bytes for %v", spec.SizeBytes, spec.Run)
	}
	g, err := newGroup(spec.SizeBytes)
	if err != nil {
		return nil, err
	}
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	return g.measure(ctx, spec.Run)
}

// member is one raft node with its log.
type member struct {
	node  *raft.RawNode
	store *raft.MemoryStorage
	seen  int64 // entries that it has applied
}

// group is three of them. One goroutine owns it.
type group struct {
	list     []*member
	payloads [][]byte // of the proposals of a round, each written anew
	sent     int64
	propose  time.Duration
	follow   time.Duration
}

func newGroup(size int) (*group, error) {
	g := &group{payloads: make([][]byte, max(min(roundBytes/size, roundMost), 1))}
	for i := range g.payloads {
		g.payloads[i] = bytes.Repeat([]byte{byte(i + 1)}, size)
	}
	for id := range uint64(members) {
		m := &member{store: raft.NewMemoryStorage()}
		if err := begin(m.store); err != nil {
			return nil, err
		}
		var err error
		m.node, err = raft.NewRawNode(&raft.Config{ID: id + 1, ElectionTick: 10, HeartbeatTick: 1, Storage: m.store, Applied: 1,
			MaxSizePerMsg: 4 << 20, MaxInflightMsgs: inflightMax, Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}})
		if err != nil {
			return nil, fmt.Errorf("raft: %w", err)
		}
		g.list = append(g.list, m)
	}
	if err := g.list[0].node.Campaign(); err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	if err := g.turn(); err != nil {
		return nil, err
	}
	if st := g.list[0].node.BasicStatus(); st.RaftState != raft.StateLeader {
		return nil, errors.New("raft: nobody leads")
	}
	g.propose, g.follow = 0, 0
	return g, nil
}

// begin gives a log the three members, as a snapshot at index 1.
func begin(store *raft.MemoryStorage) error {
	s, err := raft.NewMemoryStorage().Snapshot() // of another one, which a version may share with us
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	s.Metadata.ConfState.Voters = []uint64{1, 2, 3}
	set(&s.Metadata.Index, 1)
	set(&s.Metadata.Term, 1)
	if err := store.ApplySnapshot(s); err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	return nil
}

// set and get reach a number that one version holds itself and another by a pointer.
func set(field any, v uint64) {
	switch p := field.(type) {
	case *uint64:
		*p = v
	case **uint64:
		*p = &v
	}
}

func get(field any) uint64 {
	switch p := field.(type) {
	case *uint64:
		return *p
	case **uint64:
		return **p
	}
	panic(fmt.Sprintf("BUG: a number of type %T", field))
}

// measure proposes for that long, a round at a time.
func (g *group) measure(ctx context.Context, run time.Duration) (*Result, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for end := time.Now().Add(run); time.Now().Before(end); {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := g.round(); err != nil {
			return nil, err
		}
	}
	runtime.ReadMemStats(&after)
	n := float64(g.sent)
	return &Result{Version: version(), Entries: g.sent, ProposeNs: float64(g.propose) / n, FollowNs: float64(g.follow) / n / (members - 1),
		AllocBytes: float64(after.TotalAlloc-before.TotalAlloc) / n}, nil
}

// round proposes every payload once and carries it to all members. What they did not
// all apply is ErrVerify.
func (g *group) round() error {
	for i, p := range g.payloads {
		binary.LittleEndian.PutUint64(p, uint64(g.sent)+uint64(i))
	}
	leader := g.list[0].node
	begun := time.Now()
	for _, p := range g.payloads {
		if err := leader.Propose(p); err != nil {
			return fmt.Errorf("raft: propose: %w", err)
		}
	}
	g.propose += time.Since(begun)
	g.sent += int64(len(g.payloads))
	if err := g.turn(); err != nil {
		return err
	}
	for i, m := range g.list {
		if m.seen != g.sent {
			return fmt.Errorf("%w: member %d applied %d of %d entries", cell.ErrVerify, i+1, m.seen, g.sent)
		}
		last, err := m.store.LastIndex()
		if err == nil {
			err = m.store.Compact(last)
		}
		if err != nil {
			return fmt.Errorf("raft: compact: %w", err)
		}
	}
	return nil
}

// turn lets every member work until none has anything left to do.
func (g *group) turn() error {
	for busy := true; busy; {
		busy = false
		for i := range g.list {
			for g.list[i].node.HasReady() {
				busy = true
				if err := g.ready(i); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ready does one Ready of a member: to its log, its messages to the others, and what
// is committed compared with what was proposed.
func (g *group) ready(i int) error {
	m := g.list[i]
	begun := time.Now()
	rd := m.node.Ready()
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := m.store.SetHardState(rd.HardState); err != nil {
			return fmt.Errorf("raft: %w", err)
		}
	}
	if err := m.store.Append(rd.Entries); err != nil {
		return fmt.Errorf("raft: append: %w", err)
	}
	g.spent(i, begun)
	for _, msg := range rd.Messages {
		to := int(get(&msg.To)) - 1
		begun := time.Now()
		if err := g.list[to].node.Step(msg); err != nil {
			return fmt.Errorf("raft: step: %w", err)
		}
		g.spent(to, begun)
	}
	for _, e := range rd.CommittedEntries {
		if len(e.Data) == 0 { // a new leader's
			continue
		}
		if want := g.payloads[m.seen%int64(len(g.payloads))]; binary.LittleEndian.Uint64(e.Data) != uint64(m.seen) || !bytes.Equal(e.Data, want) {
			return fmt.Errorf("%w: entry %d of member %d is another one", cell.ErrVerify, m.seen, i+1)
		}
		m.seen++
	}
	begun = time.Now()
	m.node.Advance(rd)
	g.spent(i, begun)
	return nil
}

// spent counts what followers take; the first member leads.
func (g *group) spent(member int, since time.Time) {
	if member > 0 {
		g.follow += time.Since(since)
	}
}

// version is the library's, as this program was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range info.Deps {
		if dep.Path == moduleName {
			return dep.Version
		}
	}
	return "unknown"
}
