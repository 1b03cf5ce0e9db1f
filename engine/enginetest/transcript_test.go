package enginetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"

	"github.com/cockroachdb/datadriven"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/transport"
)

// TestTranscripts plays testdata/*.txt: what stands under a command is what the
// cluster did. Write it anew with
//
//	go test ./engine/enginetest -run TestTranscripts -rewrite
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		cryptotest.SetGlobalRandom(t, 1)
		synctest.Test(t, func(t *testing.T) {
			s := &story{}
			defer func() {
				if s.c != nil {
					s.c.Close()
				}
			}()
			datadriven.RunTest(t, path, s.run)
		})
	})
}

// story is one transcript under way.
type story struct {
	t *testing.T
	d *datadriven.TestData
	c *Cluster

	reads   []*Latest
	unaware map[ids.NodeID]bool // nodes that see no newer metadata
}

// commands is the language of the transcripts. Each does one thing; what follows
// from it is let happen (Stabilize) unless the command is said not to.
var commands = map[string]func(s *story) string{
	"cluster":    (*story).cluster,   // nodes=3 partitions=1 replicas=3 files=off lag=16 min-insync=0: a new one
	"show":       (*story).show,      // messages=on|off
	"elect":      (*story).elect,     // node=1 partition=0
	"transfer":   (*story).transfer,  // from=1 to=2 partition=0
	"propose":    (*story).propose,   // node=1 partition=0 acks=all|1 producer=7 seq=0, values=a,b fill=0 (bytes, to make it long)
	"read":       (*story).read,      // node=1 partition=0 offset=0
	"read-index": (*story).readIndex, // node=1 partition=0
	"partition":  (*story).partition, // a=1 b=2,3: both ways are cut
	"cut":        (*story).cut,       // from=1 to=2: that way is cut
	"heal":       (*story).heal,      //
	"hold":       (*story).hold,      // node=2: its appends wait
	"pass":       (*story).pass,      // node=2: one of them goes to the disk
	"release":    (*story).release,   // node=2: all of them, and no more waiting
	"crash":      (*story).crash,     // node=1|all: kill -9
	"power-cut":  (*story).powerCut,  // node=1|all seed=1
	"tear":       (*story).tear,      // node=1 seed=1: power cut in the middle of a held append
	"stop":       (*story).stop,      // node=1|all: cleanly
	"restart":    (*story).restart,   // node=1|all
	"to-files":   (*story).toFiles,   // node=1|all: what is applied goes to the files, and out of the log
	"move":       (*story).move,      // nodes=1,2,4 unaware=3: where the replicas are to be; some nodes do not hear of it
	"cancel":     (*story).cancel,    // the move under way is taken back
	"step":       (*story).step,      // n=1: the leader takes the next step of the move
	"see":        (*story).see,       // node=3: it is aware from now on
	"learner":    (*story).learner,   // node=4: a move that adds it, and the first step
	"promote":    (*story).finish,    // all steps there are
	"remove":     (*story).remove,    // node=3: a move without it, and all steps
	"wipe":       (*story).wipe,      // node=3: it loses its disks, and is taken back
	"delete":     (*story).delete,    // node=1 offset=4: the log start moves up, on the leader
	"retain":     (*story).retain,    // node=1|all: files below the log start are deleted
	"suspect":    (*story).suspect,   // node=2 of=1: it is told that node 1 seems to be gone
	"tick":       (*story).tick,      // n=1 node=all
	"stabilize":  func(*story) string { return "" },
	"status":     func(s *story) string { return s.c.StatusText() },
	"log":        func(s *story) string { return s.c.LogText(s.number("partition", 0)) },
}

// hidden are the kinds of line that a transcript does not show.
var hidden = []string{"put ", "ask ", "read "}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	s.t, s.d = t, d
	f := commands[d.Cmd]
	if f == nil {
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	out := f(s)
	s.seeAll()
	s.c.Stabilize()
	if d.Cmd == "status" || d.Cmd == "log" || d.Cmd == "cluster" {
		s.c.Lines()
		return out
	}
	for _, line := range s.c.Lines() {
		if !startsWith(line, hidden) {
			out += line + "\n"
		}
	}
	for _, v := range s.c.Violations() {
		t.Errorf("%s: %s", d.Pos, v)
	}
	if out == "" {
		return "ok"
	}
	return out
}

func startsWith(line string, list []string) bool {
	for _, l := range list {
		if strings.HasPrefix(line, l) {
			return true
		}
	}
	return false
}

// arg gives an argument, or other if it is not there.
func (s *story) arg(key, other string) string {
	for _, a := range s.d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, ",")
		}
	}
	return other
}

func (s *story) number(key string, other int) int {
	n, err := strconv.Atoi(s.arg(key, strconv.Itoa(other)))
	if err != nil {
		s.d.Fatalf(s.t, "%s: %v", key, err)
	}
	return n
}

// list reads "1,2" as nodes; "all" is all of them.
func (s *story) list(key string) (nodes []*Node) {
	text := s.arg(key, "all")
	if text == "all" {
		return s.c.Nodes()
	}
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > len(s.c.Nodes()) {
			s.d.Fatalf(s.t, "%s=%s: no such node", key, text)
		}
		nodes = append(nodes, s.c.Node(ids.NodeID(n)))
	}
	return nodes
}

func (s *story) node() *Node { return s.list("node")[0] }

func (s *story) cluster() string {
	if s.c != nil {
		s.c.Close()
	}
	s.c = New(Config{
		Nodes: s.number("nodes", 3), Partitions: s.number("partitions", 1), Replicas: s.number("replicas", 0),
		Seed: uint64(s.number("seed", 1)), Files: s.arg("files", "off") == "on",
		Lag: ids.LogIndex(s.number("lag", 0)), MinInsync: s.number("min-insync", 0),
	})
	s.unaware = map[ids.NodeID]bool{}
	s.c.SetLinks(transport.Link{})
	s.c.Stabilize()
	return s.c.StatusText()
}

func (s *story) show() string {
	s.c.ShowMessages(s.arg("messages", "on") == "on")
	return ""
}

func (s *story) elect() string {
	s.node().Campaign(s.number("partition", 0))
	return ""
}

func (s *story) transfer() string {
	if err := s.list("from")[0].Transfer(s.number("partition", 0), s.list("to")[0].ID()); err != nil {
		return err.Error() + "\n"
	}
	return ""
}

func (s *story) propose() string {
	b := Batch{Producer: ids.ProducerID(s.number("producer", int(ids.NoProducer))), Sequence: -1, Epoch: -1, TimeMS: 1000}
	if b.Producer != ids.NoProducer {
		b.Epoch, b.Sequence = 0, int32(s.number("seq", 0))
	}
	b.Values = strings.Split(s.arg("values", s.arg("value", "")), ",")
	b.Values[0] += strings.Repeat(".", s.number("fill", 0))
	wait := replica.WaitCommit
	if s.arg("acks", "all") == "1" {
		wait = replica.WaitDurable
	}
	if _, err := s.node().Propose(s.number("partition", 0), b.Encode(), wait); err != nil {
		return err.Error() + "\n"
	}
	return ""
}

func (s *story) read() string {
	p, o := s.number("partition", 0), ids.Offset(s.number("offset", 0))
	next, hw, err := s.node().Read(p, o, 1<<20)
	if err != nil {
		return err.Error() + "\n"
	}
	out := fmt.Sprintf("offsets [%d, %d), high watermark %d\n", o, next, hw)
	for o < next {
		place, e, _ := s.c.logs[p].at(o)
		out += fmt.Sprintf("  %d %s\n", place.base, text(e.Data))
		o = place.end
	}
	return out
}

func (s *story) readIndex() string {
	r, err := s.node().Latest(s.number("partition", 0))
	if err != nil {
		return err.Error() + "\n"
	}
	s.reads = append(s.reads, r)
	s.c.Stabilize()
	if !r.Done() {
		return "no answer yet\n"
	}
	return ""
}

func (s *story) partition() string {
	for _, a := range s.list("a") {
		for _, b := range s.list("b") {
			s.c.Cut(a.ID(), b.ID())
			s.c.Cut(b.ID(), a.ID())
		}
	}
	return ""
}

func (s *story) cut() string {
	s.c.Cut(s.list("from")[0].ID(), s.list("to")[0].ID())
	return ""
}

func (s *story) heal() string {
	s.c.Heal()
	return ""
}

// each runs f for the nodes named that are up, or down.
func (s *story) each(up bool, f func(n *Node)) string {
	for _, n := range s.list("node") {
		if n.Up() == up {
			f(n)
		}
	}
	return ""
}

func (s *story) hold() string    { return s.each(true, (*Node).Hold) }
func (s *story) pass() string    { return s.each(true, func(n *Node) { n.Pass() }) }
func (s *story) release() string { return s.each(true, (*Node).Release) }
func (s *story) crash() string   { return s.each(true, (*Node).Crash) }
func (s *story) restart() string { return s.each(false, (*Node).Start) }

func (s *story) powerCut() string {
	return s.each(true, func(n *Node) { n.PowerCut(uint64(s.number("seed", 1))) })
}

func (s *story) tear() string {
	return s.each(true, func(n *Node) {
		if !n.Tear(uint64(s.number("seed", 1))) {
			s.d.Fatalf(s.t, "node %d holds no append", n.ID())
		}
	})
}

func (s *story) stop() string {
	return s.each(true, func(n *Node) {
		if err := n.Stop(); err != nil {
			s.t.Errorf("%s: stop node %d: %v", s.d.Pos, n.ID(), err)
		}
	})
}

func (s *story) toFiles() string {
	return s.each(true, func(n *Node) {
		n.ToFiles(s.number("partition", 0))
		s.c.Stabilize()
	})
}

func (s *story) seeAll() {
	for _, n := range s.c.Nodes() {
		if !s.unaware[n.ID()] {
			n.See()
		}
	}
	s.c.Stabilize()
}

func (s *story) see() string {
	for _, n := range s.list("node") {
		delete(s.unaware, n.ID())
	}
	return ""
}

func (s *story) reassign(nodes []ids.NodeID) string {
	if err := s.c.Reassign(s.number("partition", 0), nodes); err != nil {
		return err.Error() + "\n"
	}
	s.seeAll()
	return ""
}

func (s *story) move() string {
	if s.arg("unaware", "") != "" {
		for _, n := range s.list("unaware") {
			s.unaware[n.ID()] = true
		}
	}
	var nodes []ids.NodeID
	for _, n := range s.list("nodes") {
		nodes = append(nodes, n.ID())
	}
	return s.reassign(nodes)
}

func (s *story) cancel() string { return s.reassign(nil) }

// advance takes one step and lets follow what follows.
func (s *story) advance() bool {
	leader, did := s.c.Leader(s.number("partition", 0)), false
	if leader != nil {
		did = leader.Step(s.number("partition", 0))
	}
	s.c.Stabilize()
	s.seeAll()
	return did
}

func (s *story) step() string {
	for range s.number("n", 1) {
		s.advance()
	}
	return ""
}

func (s *story) learner() string {
	p := s.number("partition", 0)
	if out := s.reassign(append(slices.Clone(s.c.goal(p)), s.node().ID())); out != "" {
		return out
	}
	s.advance()
	return ""
}

func (s *story) remove() string {
	p, gone := s.number("partition", 0), s.node().ID()
	if out := s.reassign(slices.DeleteFunc(slices.Clone(s.c.goal(p)), func(n ids.NodeID) bool { return n == gone })); out != "" {
		return out
	}
	return s.finish()
}

// finish takes all steps there are.
func (s *story) finish() string {
	for range 20 {
		if s.c.Placed(s.number("partition", 0)).Target == nil {
			return ""
		}
		s.advance()
	}
	return "it is not over\n"
}

func (s *story) wipe() string {
	return s.each(true, func(n *Node) {
		if err := n.Wipe(uint64(s.number("seed", 1))); err != nil {
			s.t.Errorf("%s: wipe node %d: %v", s.d.Pos, n.ID(), err)
		}
	})
}

func (s *story) delete() string {
	if err := s.node().DeleteRecords(s.number("partition", 0), ids.Offset(s.number("offset", 0))); err != nil {
		return err.Error() + "\n"
	}
	return ""
}

func (s *story) retain() string {
	return s.each(true, func(n *Node) { n.Retain(s.number("partition", 0)) })
}

func (s *story) suspect() string {
	return s.each(true, func(n *Node) { n.Suspect(s.list("of")[0].ID()) })
}

func (s *story) tick() string {
	for range s.number("n", 1) {
		s.each(true, (*Node).Tick)
		s.c.Stabilize()
	}
	return ""
}
