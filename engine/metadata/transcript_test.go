package metadata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"

	"github.com/cockroachdb/datadriven"
)

// stage is one State and the log that was applied to it.
type stage struct {
	state *State
	log   []replica.Entry
	told  []string // changes since the last command
}

func newStage() *stage {
	s := &stage{}
	s.state = New(Config{OnChange: s.hear})
	return s
}

func (s *stage) hear(m *Image, changes []Change) {
	for _, c := range changes {
		text := fmt.Sprintf("  %s", c.Kind)
		switch {
		case c.Topic != nil:
			text += fmt.Sprintf(": %s, %d partitions", c.Topic.Name, len(c.Topic.Partitions))
			if c.Kind == PartitionsAdded {
				text += fmt.Sprintf(" from %d", c.From)
			}
		case c.Broker != nil:
			text += fmt.Sprintf(": node %d, fenced %t", c.Node, c.Broker.Fenced)
		case c.Kind == BrokerConfigsSet:
			text += fmt.Sprintf(": node %d", c.Node)
		}
		s.told = append(s.told, fmt.Sprintf("%s (entry %d of %d)", text, c.Index, m.Index))
	}
}

func requestID(n int) RequestID { return RequestID{14: byte(n >> 8), 15: byte(n)} }

// propose takes one record the whole way: prepare, stamp, apply, outcome.
func (s *stage) propose(n int, atMS int64, r Record) (Result, error) {
	p, err := s.state.Prepare(requestID(n), atMS, r)
	if err != nil {
		return Result{}, err
	}
	if err := s.state.Stamp(1, atMS, &p.Proposal); err != nil {
		return Result{}, err
	}
	if err := s.apply(p.Data); err != nil {
		return Result{}, err
	}
	p.Proposed(&p.Proposal, nil)
	return p.Wait(context.Background())
}

func (s *stage) apply(data []byte) error {
	e := replica.Entry{Index: s.state.Applied() + 1, Term: 1, Data: data}
	err := s.state.Apply([]replica.Entry{e})
	if err == nil {
		s.log = append(s.log, e)
	}
	return err
}

// line runs "<request> <type> <json>" and tells the outcome.
func (s *stage) line(text string) string {
	var n int
	var kind string
	if _, err := fmt.Sscan(text, &n, &kind); err != nil {
		return err.Error()
	}
	r := newRecord(kind)
	if err := strict([]byte(text[strings.Index(text, "{"):]), r); err != nil {
		return err.Error()
	}
	res, err := s.propose(n, int64(1000*n), r)
	switch {
	case err != nil:
		return fmt.Sprintf("%d: %v", n, err)
	case res.FirstProducer != 0:
		return fmt.Sprintf("%d: ok, producers from %d", n, res.FirstProducer)
	}
	return fmt.Sprintf("%d: ok", n)
}

func (s *stage) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "propose":
		var out []string
		for _, l := range strings.Split(d.Input, "\n") {
			out = append(out, s.line(l))
			out, s.told = append(out, s.told...), nil
		}
		return strings.Join(out, "\n")
	case "raw":
		if err := s.apply([]byte(d.Input)); err != nil {
			return fmt.Sprintf("%v\napplied %d", err, s.state.Applied())
		}
		return fmt.Sprintf("applied %d", s.state.Applied())
	case "log":
		var b strings.Builder
		for _, e := range s.log {
			fmt.Fprintf(&b, "%d %s\n", e.Index, e.Data)
		}
		return b.String()
	case "partition":
		var part int
		if _, err := fmt.Sscan(d.CmdArgs[1].Key, &part); err != nil {
			t.Fatal(err)
		}
		topic, _ := s.state.Image().Topic(d.CmdArgs[0].Key)
		p := &topic.Partitions[part]
		text := fmt.Sprintf("replicas %v initial %v\ntarget %v adding %v removing %v isr %v\n", p.Replicas, p.Initial, p.Target, p.Adding, p.Removing, p.ISR)
		if p.Base != nil {
			text += fmt.Sprintf("base %v\n", p.Base)
		}
		if p.Lost != nil {
			text += fmt.Sprintf("lost %v move %d leader %d\n", p.Lost, p.Move, p.Leader)
		}
		return text
	case "cluster":
		c := s.state.Image().Cluster
		return fmt.Sprintf("replicas %v initial %v\n", c.Replicas, c.Initial)
	case "image":
		return indent(t, snapshotOf(t, s.state))
	case "restart": // from a snapshot
		b := snapshotOf(t, s.state)
		log := s.log
		*s = stage{log: log}
		s.state = New(Config{OnChange: s.hear})
		if err := s.state.Restore(b); err != nil {
			return err.Error()
		}
		out := strings.Join(s.told, "\n")
		s.told = nil
		return out
	case "topic-configs":
		top, ok := s.state.Image().Topic(d.CmdArgs[0].Key)
		if !ok {
			return "no such topic"
		}
		v := s.view(d)
		return valuesText(v.TopicConfigs(top)) + fmt.Sprintf("%+v\n", v.TopicSettings(top))
	case "broker-configs":
		return valuesText(s.view(d).BrokerConfigs())
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

// view reads "node=N" and static configs from the input, "key=value" a line.
func (s *stage) view(d *datadriven.TestData) View {
	v := View{Image: s.state.Image(), Node: 1, Static: map[string]string{}}
	for _, a := range d.CmdArgs {
		if a.Key == "node" {
			var n int32
			if _, err := fmt.Sscan(a.Vals[0], &n); err == nil {
				v.Node = ids.NodeID(n)
			}
		}
	}
	for _, l := range strings.Split(d.Input, "\n") {
		if k, val, ok := strings.Cut(l, "="); ok {
			v.Static[k] = val
		}
	}
	return v
}

func valuesText(values []Value) string {
	names := []string{"", "topic", "node", "cluster", "static", "default"}
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%s=%s (%s)\n", v.Key.Name, v.Value, names[v.Source])
	}
	return b.String()
}

func snapshotOf(t *testing.T, s *State) []byte {
	t.Helper()
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func indent(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", " "); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := newStage()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
	})
}

// TestUnknownOutcome: what the group answers reaches the waiter as it is, and a
// wait that ends early says that it knows nothing.
func TestUnknownOutcome(t *testing.T) {
	s := New(Config{})
	p, err := s.Prepare(requestID(1), 1, &ClusterCreated{ClusterID: "c", Format: 1, Replicas: []Replica{{1, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("caller went away")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	if _, err := p.Wait(ctx); !errors.Is(err, gone) {
		t.Errorf("cancelled wait: %v", err)
	}
	p.Proposed(&p.Proposal, replica.ErrNotLeader)
	<-p.Done()
	if _, err := p.Wait(context.Background()); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("lost leadership: %v", err)
	}
	q, _ := s.Prepare(requestID(2), 1, &ClusterCreated{ClusterID: "c", Format: 1, Replicas: []Replica{{1, 1}}})
	q.Proposed(&q.Proposal, nil)
	if _, err := q.Wait(context.Background()); !errors.Is(err, ErrForgotten) {
		t.Errorf("outcome that was never remembered: %v", err)
	}
}
