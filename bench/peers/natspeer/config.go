package natspeer

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"dyno/loadgen"
)

// Sync is the fsync policy of the servers.
type Sync string

const (
	SyncAlways  Sync = "always"  // each store into a Raft log is followed by an fsync
	SyncDefault Sync = "default" // as shipped: in the background, every two minutes
)

// Connect says which server a client connects to.
type Connect string

const (
	ConnectLeader Connect = "leader" // the leader of its (first) stream, as Kafka clients do
	ConnectSpread Connect = "spread" // the servers in turn; messages for other leaders take a route
)

// Verify says how far a run is checked.
type Verify string

const (
	VerifyCounts Verify = "counts" // what the streams hold against what was acknowledged
	VerifyRead   Verify = "read"   // counts, and every message read back
)

const (
	serverCount    = 3
	streamsMax     = 256
	clientsMax     = 4096
	pendingMax     = 32 << 10 // a stream refuses what queues up beyond 100,000 messages
	sizeMin        = stampBytes
	sizeMax        = 1 << 20   // max_payload as shipped
	inflightMax    = 512 << 20 // bytes of all publishers' messages in flight
	windowMin      = 100 * time.Millisecond
	windowMax      = time.Hour
	drainMax       = 30 * time.Second // from the end of the window to the last answer
	defaultSize    = 1024
	defaultStreams = 8
)

// The warm-up and window of the command line.
const (
	DefaultWarmup = 2 * time.Second
	DefaultWindow = 5 * time.Second
)

// Config is one run. The zero value of a field is its default.
type Config struct {
	Dir        string        `json:"dir,omitempty"` // new or empty; the servers' data. Required
	Keep       bool          `json:"keep"`          // leave Dir as the servers left it
	Sync       Sync          `json:"sync"`          // always
	Streams    int           `json:"streams"`       // 8, three replicas each
	SizeBytes  int           `json:"size_bytes"`    // 1024
	Publishers int           `json:"publishers"`    // pipelined clients, each with a connection: one per stream
	Pending    int           `json:"pending"`       // most unanswered messages per publisher: 2 MiB of them per stream, see defaultPending
	ClosedLoop int           `json:"closed_loop"`   // instead: clients with a connection and one message in flight each
	Rate       float64       `json:"rate"`          // messages/s of all publishers on a schedule; 0 saturates
	Connect    Connect       `json:"connect"`       // leader
	Warmup     time.Duration `json:"warmup_ns"`
	Window     time.Duration `json:"window_ns"` // timed: 5 s
	Verify     Verify        `json:"verify"`    // counts
	Seed       uint64        `json:"seed"`      // of the payload: 1

	// Server is the program and arguments that make a process call ServeNode.
	Server []string `json:"-"`
	// Progress, if set, is called about once a second, from one goroutine at a time.
	Progress func(loadgen.Progress) `json:"-"`

	made bool // Dir was made by this run
}

func (c *Config) setDefaults() {
	c.Sync = cmp.Or(c.Sync, SyncAlways)
	c.Streams = cmp.Or(c.Streams, defaultStreams)
	c.SizeBytes = cmp.Or(c.SizeBytes, defaultSize)
	c.Connect = cmp.Or(c.Connect, ConnectLeader)
	c.Window = cmp.Or(c.Window, DefaultWindow)
	c.Verify = cmp.Or(c.Verify, VerifyCounts)
	c.Seed = cmp.Or(c.Seed, 1)
	if c.ClosedLoop > 0 {
		c.Publishers, c.Pending = cmp.Or(c.Publishers, c.ClosedLoop), cmp.Or(c.Pending, 1)
	}
	c.Publishers = cmp.Or(c.Publishers, c.Streams)
	c.Pending = cmp.Or(c.Pending, c.defaultPending())
}

// A stream's default share of unanswered messages, in bytes and within bounds in
// messages.
const (
	shareBytes = 2 << 20
	shareMin   = 32
	shareMax   = 4096
)

// defaultPending lets 2 MiB of messages wait per stream, whoever sends them:
// eight Raft entries of a stream's leader, the most it queues without its lock
// (raft.go checkFastPathLimits). Single looks on two busy cores with 1 KiB and
// eight streams, not recorded: 25.7 k messages/s with 256 per publisher, 42.6 k
// with 1024, 50.6 k with 4096, 36.1 k with 8192, the response growing all along;
// later looks, with less of the cores, did not order 1024 to 4096.
func (c *Config) defaultPending() int {
	share := min(max(shareBytes/max(c.SizeBytes, 1), shareMin), shareMax)
	publishers := max(c.Publishers, 1)
	return min(max((share*c.Streams+publishers-1)/publishers, shareMin), pendingMax)
}

// Validate fills in the defaults and refuses what cannot be run. Error: ErrUsage.
func (c *Config) Validate() error {
	c.setDefaults()
	var wrong []string
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	refuse(c.Dir == "", "no directory for the servers' data: name a new or empty one on the disk to be measured")
	refuse(c.Sync != SyncAlways && c.Sync != SyncDefault, "sync %q: want always or default", c.Sync)
	refuse(c.Connect != ConnectLeader && c.Connect != ConnectSpread, "connect %q: want leader or spread", c.Connect)
	refuse(c.Verify != VerifyCounts && c.Verify != VerifyRead, "verify %q: want counts or read", c.Verify)
	refuse(c.Streams < 1 || c.Streams > streamsMax, "%d streams: want 1 to %d", c.Streams, streamsMax)
	refuse(c.SizeBytes < sizeMin || c.SizeBytes > sizeMax, "messages of %d bytes: want %d to %d", c.SizeBytes, sizeMin, sizeMax)
	refuse(c.ClosedLoop < 0 || c.ClosedLoop > clientsMax, "%d closed-loop clients: want 1 to %d", c.ClosedLoop, clientsMax)
	refuse(c.Publishers < 1 || c.Publishers > clientsMax, "%d publishers: want 1 to %d", c.Publishers, clientsMax)
	refuse(c.Pending < 1 || c.Pending > pendingMax, "%d pending messages: want 1 to %d", c.Pending, pendingMax)
	refuse(!(c.Rate >= 0) || math.IsInf(c.Rate, 0), "rate %v: want a positive number", c.Rate)
	refuse(c.ClosedLoop > 0 && c.Rate > 0, "a closed loop has no rate: give one of the two")
	refuse(c.ClosedLoop > 0 && (c.Publishers != c.ClosedLoop || c.Pending != 1),
		"a closed loop has one message in flight per client: leave publishers and pending out")
	refuse(c.Warmup < 0 || c.Warmup > windowMax, "a warm-up of %v: want 0 to %v", c.Warmup, windowMax)
	refuse(c.Window < windowMin || c.Window > windowMax, "a window of %v: want %v to %v", c.Window, windowMin, windowMax)
	if inflight := c.Publishers * c.Pending * c.SizeBytes; len(wrong) == 0 && inflight > inflightMax {
		refuse(true, "%d publishers with %d pending messages of %d bytes hold %d MiB: at most %d MiB",
			c.Publishers, c.Pending, c.SizeBytes, inflight>>20, inflightMax>>20)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrUsage, strings.Join(wrong, "; "))
	}
	if len(c.Server) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		c.Server = []string{exe, ServerArg}
	}
	return nil
}

// mode is the load's shape in the words of dyno.load.
func (c *Config) mode() string {
	switch {
	case c.ClosedLoop > 0:
		return "closed"
	case c.Rate > 0:
		return "open"
	}
	return "saturating"
}
