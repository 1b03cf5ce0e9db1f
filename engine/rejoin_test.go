package engine

import (
	"errors"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/engine/admin"
	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/wal"
	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kadm"
)

// damage spoils a byte of a node's log that everything after it was promised to
// follow.
func (c *clusterBed) damage(id ids.NodeID) {
	c.t.Helper()
	fs := c.cfg[id-1].FS
	m, err := readMeta(fs, bedDir)
	if err != nil {
		c.t.Fatal(err)
	}
	dir := path.Join(m.home(bedDir), walDir)
	names, err := fs.List(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		b, err := readFile(fs, path.Join(dir, name))
		if err != nil {
			c.t.Fatal(err)
		}
		const header = 1 << 10 // leave the first records alone
		at := header + slices.IndexFunc(b[min(len(b), header):], func(x byte) bool { return x != 0 })
		if at < header {
			continue
		}
		f, err := fs.Open(path.Join(dir, name))
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{^b[at]}, int64(at)); err != nil {
			c.t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			c.t.Fatal(err)
		}
		if log, err := wal.Open(wal.Options{FS: fs, Dir: dir}); !errors.Is(err, wal.ErrCorrupt) {
			c.t.Fatalf("%s at byte %d of %d: the damaged log opens: %v", name, at, len(b), errors.Join(err, log.Close()))
		}
		return
	}
	c.t.Fatal("no segment holds anything worth damaging")
}

// whole waits until every partition and the metadata have three replicas that
// are counted, none of them lost, as every node sees it.
func (c *clusterBed) whole(topic string) {
	c.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		state := ""
		for _, n := range c.nodes {
			state += c.holes(n, topic)
		}
		if state == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatal(state)
		}
		runtime.Gosched()
	}
}

// holes says what one node sees that is not whole.
func (c *clusterBed) holes(n *Node, topic string) (out string) {
	img := n.meta.Image()
	t, ok := img.Topic(topic)
	if !ok {
		return "no topic; "
	}
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Target != nil || p.Lost != nil || len(p.ISR) != len(c.nodes) {
			out += "partition moving or out of sync; "
		}
	}
	have := n.metaGroup.Members()
	for _, m := range img.Cluster.Replicas {
		if !slices.Contains(have.Voters, m.ID) {
			out += "metadata replica does not vote; "
		}
	}
	if len(have.Voters) != len(img.Cluster.Replicas) || len(have.Outgoing)+len(have.Learners) > 0 {
		out += "metadata members differ; "
	}
	return out
}

// TestClusterRejoin: a node that has lost its log comes back with other replicas,
// twice; then the cluster lives on with it and without another node, and through
// a power cut of all. Nothing acknowledged is missing anywhere.
func TestClusterRejoin(t *testing.T) {
	t.Parallel()
	lose := map[string]func(*clusterBed, ids.NodeID){
		"damaged":            (*clusterBed).damage,
		"damaged, small log": (*clusterBed).damage,
		"wiped": func(c *clusterBed, id ids.NodeID) {
			fs := vfs.NewMem(99)
			c.mem[id-1], c.cfg[id-1].FS = fs, fs
			if err := Format(fs, bedDir, "bed", id, Rejoin); err != nil {
				c.t.Fatal(err)
			}
			// Without its old directory it waits until it is fenced: so let it be.
			n := c.nodes[id%3]
			b, _ := n.meta.Image().Broker(id)
			if _, err := n.change(c.ctx(), &metadata.FenceBroker{Node: id, Incarnation: b.Incarnation}); err != nil {
				c.t.Fatal(err)
			}
		},
	}
	for name, lose := range lose {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for elections
			if testing.Short() && name != "damaged" {
				t.Skip("takes seconds")
			}
			var set []func(*Config)
			if strings.HasSuffix(name, "small log") {
				set = append(set, smallLog)
			}
			c := newClusterBed(t, 3, set...)
			c.topic("t", 4, 3)
			total := 0
			more := func(n int) {
				c.produce("t", total, n)
				total += n
			}
			more(300)
			gone := c.leader("t", 0)
			for lost := 1; lost <= 2; lost++ {
				c.stop(gone)
				lose(c, gone)
				more(100)
				c.start(gone)
				more(100)
				c.whole("t")
				if m := (&bed{t: t, node: c.nodes[gone-1]}).metrics(); name != "wiped" && m["dyno_logs_lost"] != float64(lost) {
					t.Errorf("the metrics tell of %v lost logs, want %d", m["dyno_logs_lost"], lost)
				}
				other := gone%3 + 1
				c.stop(other)
				more(100) // now the one that came back is needed
				c.start(other)
				c.consume("t", total)
			}
			c.whole("t")
			c.cut(c.all()...)
			c.start(c.all()...)
			c.whole("t")
			c.consume("t", total)
			more(10)
			c.consume("t", total)
			for _, id := range c.all()[1:] {
				if want, got := c.sum("t", 1), c.sum("t", id); want != got {
					t.Errorf("node 1: %s, node %d: %s", want, id, got)
				}
			}
		})
	}
}

// TestClusterRejoinRefused: a node that holds the only copy of something is not
// taken back without it, and its disk is left as it is.
func TestClusterRejoinRefused(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 1, 3)
	c.topic("alone", 3, 1)
	c.produce("t", 0, 100)
	c.stop(2)
	c.damage(2)
	before := c.mem[1].Tree()
	_, err := Open(c.cfg[1])
	if !errors.Is(err, ErrWiped) || !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), "alone-") {
		t.Fatalf("got %v, want ErrWiped, ErrCorrupt and the partition that would be lost", err)
	}
	if c.mem[1].Tree() != before {
		t.Error("a refused start changed the disk")
	}
	if _, err := kadm.NewClient(c.client()).DeleteTopic(c.ctx(), "alone"); err != nil {
		t.Fatal(err)
	}
	c.start(2)
	c.whole("t")
	c.consume("t", 100)
}

// TestClusterReplaced: the node that lives keeps its id, and once another
// directory has it, the node that had it before ends.
func TestClusterReplaced(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 3, 3)
	ask := admin.Rejoin{Cluster: "bed", Node: 3, Directory: "new"}
	if _, err := (adminNode{c.nodes[0]}).Rejoin(c.ctx(), ask); !errors.Is(fromAdmin(err), metadata.ErrBrokerAlive) {
		t.Fatalf("got %v, want ErrBrokerAlive", err)
	}
	ask.Cluster = "other"
	var told *admin.Error
	if _, err := (adminNode{c.nodes[0]}).Rejoin(c.ctx(), ask); !errors.As(err, &told) || told.Kind != admin.Foreign {
		t.Fatalf("got %v, want Foreign", err)
	}
	ask.Cluster, ask.Old = "bed", c.nodes[2].identity.Directory
	if _, err := (adminNode{c.nodes[0]}).Rejoin(c.ctx(), ask); err != nil {
		t.Fatal(err)
	}
	<-c.nodes[2].Failed()
	if err := c.nodes[2].Err(); !errors.Is(err, ErrWiped) {
		t.Errorf("got %v, want ErrWiped", err)
	}
	for _, h := range c.nodes[2].hosts.list() { // none of the new replicas was opened by the old node
		topic, _ := c.nodes[2].meta.Image().TopicByID(h.topic)
		if topic.Partitions[h.part].On(3) == h.group.Replica() {
			t.Errorf("%s-%d: the node runs replica %d", h.name, h.part, h.group.Replica())
		}
	}
	c.stop(3)
	if _, err := Open(c.cfg[2]); !errors.Is(err, ErrWiped) {
		t.Errorf("restarted: got %v, want ErrWiped", err)
	}
}
