package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"dyno/bench/record"
)

// metric is an index of tally.
type metric int

const (
	allocs metric = iota
	allocBytes
	keptBytes
	fsyncs
	writeCalls
	diskBytes
	readCalls
	readBytes
	walBytes
	raftMessages
	raftBytes
	raftFrames
	raftProposals
	raftEntries
	roundTrips
	frontReads
	frontWrites
	answerBytes
	metricCount
)

// Kind says how exact a metric is.
type Kind int

// The kinds.
const (
	Call  Kind = iota // a count of calls or messages
	Bytes             // that leave the process or reach the disk
	Alloc             // what the runtime allocates: it depends on the Go version
)

// Metric describes one metric, in whatever cluster and phase.
type Metric struct {
	Name  string // as the last part of Counter.Name
	Unit  string
	Per   int64 // records that the value is given for
	Kind  Kind
	Core  bool   // it must repeat, or the replay is worth nothing
	Blind string // what it does not see
}

var metrics = [metricCount]Metric{
	allocs: {"allocs", "allocs/record", 1, Alloc, false,
		"It is of the whole process, the replay's own share included, and says nothing of how large or long-lived they are."},
	allocBytes: {"alloc-bytes", "B/record", 1, Alloc, false,
		"It does not see stacks, memory that is used again, or how long anything lives."},
	keptBytes: {"kept-bytes", "B/record", 1, Alloc, false,
		"It is what a workload of some thousand records leaves behind, caches included: it does not see a leak of less than its floor, what grows with time alone, or stacks."},
	fsyncs: {"fsyncs", "/1k records", 1000, Call, true,
		"Each append is synced by itself here: it does not see how many share a sync under load, nor how long one takes."},
	writeCalls: {"write-calls", "/1k records", 1000, Call, false,
		"It does not see how the kernel or the disk cuts a call into requests."},
	diskBytes: {"disk-bytes", "B/record", 1, Bytes, false,
		"Pages that are written again count again, zero-filled segments too; it does not see the journal of a file system."},
	readCalls: {"read-calls", "/1k records", 1000, Call, false,
		"It does not see whether a page was in the page cache."},
	readBytes: {"read-bytes", "B/record", 1, Bytes, false,
		"It does not see readahead, nor whether a page was in the page cache."},
	walBytes: {"wal-bytes", "B/record", 1, Bytes, true,
		"It does not see the rest of a page that a write fills up or repeats: that is in disk-bytes."},
	raftMessages: {"raft-messages", "/1k records", 1000, Call, true,
		"The network loses nothing and answers within a round: it does not see messages sent again."},
	raftBytes: {"raft-bytes", "B/record", 1, Bytes, true,
		"It does not see TCP, TLS or handshakes, and a lane's writer finds all there is to send at once."},
	raftFrames: {"raft-frames", "/1k records", 1000, Call, false,
		"A lane's writer finds all there is to send at once; under load it may find less, and make more frames."},
	raftProposals: {"raft-proposals", "/1k records", 1000, Call, false,
		"It does not see how many proposals meet in a mailbox under load: here all of a burst do."},
	raftEntries: {"raft-entries", "/1k records", 1000, Call, false,
		"It does not see entries that Raft makes by itself, such as a leader's first."},
	roundTrips: {"round-trips", "/1k records", 1000, Call, false,
		"It does not see what a client asks for besides: metadata, sessions, versions."},
	frontReads: {"front-reads", "/1k records", 1000, Call, false,
		"A burst is there to be read whole: it does not see requests that come in pieces."},
	frontWrites: {"front-writes", "/1k records", 1000, Call, false,
		"It does not see how the kernel cuts a write into packets."},
	answerBytes: {"answer-bytes", "B/record", 1, Bytes, false,
		"It does not see TCP or TLS."},
}

// Metrics are all there are, in order.
func Metrics() []Metric { return metrics[:] }

// What is counted in which phase. What cannot move there is left out, and so are the
// writes that answers to pipelined Produce requests leave in: a connection's writer may
// run after any of them, so their number is the scheduler's.
var (
	whenProducing = []metric{allocs, allocBytes, fsyncs, writeCalls, walBytes, diskBytes, raftMessages, raftBytes, raftFrames,
		raftProposals, raftEntries, roundTrips, frontReads, answerBytes}
	whenFetching = []metric{allocs, allocBytes, readCalls, readBytes, roundTrips, frontReads, frontWrites, answerBytes}
	whenMoving   = []metric{allocs, allocBytes, fsyncs, writeCalls, walBytes, diskBytes, readCalls, readBytes}
	wholeLife    = []metric{keptBytes}
	betweenNodes = []metric{raftMessages, raftBytes, raftFrames}
)

// Counter is one exact count of a replay.
type Counter struct {
	Name    string `json:"name"` // cluster/phase/metric, such as three/produce/fsyncs
	Count   int64  `json:"count"`
	Records int64  `json:"records"` // that passed meanwhile
}

// Metric describes what c counts; ok is false where there is no such metric.
func (c *Counter) Metric() (m Metric, ok bool) {
	name := c.Name[strings.LastIndexByte(c.Name, '/')+1:]
	for _, m := range metrics {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{}, false
}

// Value is the count in the metric's unit.
func (c *Counter) Value() float64 {
	m, _ := c.Metric()
	return float64(c.Count) * float64(m.Per) / float64(c.Records)
}

// Schema names the form of a Set.
const Schema = "dyno.replay/1"

// Set is all counters of one replay and what they depend on.
type Set struct {
	Schema   string        `json:"schema"`
	Workload string        `json:"workload"`
	Commit   record.Commit `json:"commit"`
	Go       string        `json:"go"`
	Arch     string        `json:"arch"`
	Counters []Counter     `json:"counters"`
}

// ErrSet means that what was read is no set of counters.
var ErrSet = errors.New("no set of counters")

// Find gives a counter by name, nil if there is none.
func (s *Set) Find(name string) *Counter {
	if i := slices.IndexFunc(s.Counters, func(c Counter) bool { return c.Name == name }); i >= 0 {
		return &s.Counters[i]
	}
	return nil
}

// add adds the counters of one phase.
func (s *Set) add(name string, list []metric, m *meter, records int64) {
	for _, x := range list {
		if len(m.c.nodes) > 1 || !slices.Contains(betweenNodes, x) {
			s.Counters = append(s.Counters, Counter{name + "/" + metrics[x].Name, m.sum[x], records})
		}
	}
}

// Write writes the set as JSON with one counter a line, its value in words beside
// it, so that a change of it is a change of that line.
func (s *Set) Write(w io.Writer) error {
	var b bytes.Buffer
	head, err := json.Marshal(s.Commit)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "{\n  \"schema\": %q,\n  \"workload\": %q,\n  \"commit\": %s,\n  \"go\": %q,\n  \"arch\": %q,\n  \"counters\": [\n",
		s.Schema, s.Workload, head, s.Go, s.Arch)
	for i := range s.Counters {
		c := &s.Counters[i]
		m, ok := c.Metric()
		if !ok {
			return fmt.Errorf("%w: %s is of no metric", ErrSet, c.Name)
		}
		fmt.Fprintf(&b, "    {\"name\": %q, \"count\": %d, \"records\": %d, \"is\": \"%.4g %s\"}", c.Name, c.Count, c.Records, c.Value(), m.Unit)
		if i < len(s.Counters)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("  ]\n}\n")
	_, err = w.Write(b.Bytes())
	return err
}

// Read reads what Write wrote, and nothing after it. Error: ErrSet.
func Read(r io.Reader) (*Set, error) {
	var s Set
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSet, err)
	}
	if s.Schema != Schema || len(s.Counters) == 0 {
		return nil, fmt.Errorf("%w: schema %q with %d counters, want %q", ErrSet, s.Schema, len(s.Counters), Schema)
	}
	seen := map[string]bool{}
	for i := range s.Counters {
		c := &s.Counters[i]
		if _, ok := c.Metric(); !ok || c.Records <= 0 || c.Count < 0 || seen[c.Name] {
			return nil, fmt.Errorf("%w: counter %q: %d for %d records", ErrSet, c.Name, c.Count, c.Records)
		}
		seen[c.Name] = true
	}
	return &s, nil
}
