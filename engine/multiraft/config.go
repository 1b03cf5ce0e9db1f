package multiraft

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/transport"
	"dyno/wal"
)

// Log is what the manager needs of the shared log; *wal.Log has these methods,
// see there. Safe for concurrent use.
type Log interface {
	Submit(a *wal.Append) error
	Read(stream, lo, hi uint64, maxBytes int64) ([]wal.Record, error)
	Term(stream, index uint64) (uint64, error)
	Info(stream uint64) (wal.Info, bool)
	// Full says that no new segment can be made: only Raft's own records may
	// still be appended, into the reserve.
	Full() bool
}

// Cold holds the entries of one group that were moved out of the log, below its
// first. Safe for concurrent use; it may read a disk, and then holds up the
// worker while a peer is caught up from it.
type Cold interface {
	// First is the oldest entry held, 0 if there is none. The entries from it
	// up to the first of the log are all there.
	First() ids.LogIndex
	// Term gives the term of an entry in [First-1, first of the log).
	Term(i ids.LogIndex) (ids.Term, error)
	// Entries gives KindEntry records of [lo, hi), at least one, at most
	// maxBytes beyond the first. The slice passes to the caller.
	Entries(lo, hi ids.LogIndex, maxBytes int64) ([]wal.Record, error)
}

// Config configures a Manager. Zero values mean the defaults named here.
type Config struct {
	Node ids.NodeID // required
	Log  Log        // required; closed by the caller after the manager
	// Transport reaches the other nodes; nil on a node that is alone. The
	// manager starts it, the caller closes it, before the manager.
	Transport transport.Transport
	Listener  events.Listener // events.Discard

	Workers int           // half of GOMAXPROCS, at least 1 and at most 16
	Tick    time.Duration // 20 ms
	// Poll, where set, is how often a worker looks for what there is to do, instead
	// of being woken by it: the arm of an experiment, see poll.go.
	Poll time.Duration
	// Replica is the template for every group's replica: its limits and ticks.
	Replica replica.Config
	// TailBytes bounds the entries kept in memory for all groups: 64 MiB.
	TailBytes int64
	// MailboxBytesMax bounds what waits for one worker, proposals and messages
	// of peers each; beyond it proposals fail with ErrOverloaded and messages
	// are dropped: 64 MiB.
	MailboxBytesMax int64
	// DrainBytesMax bounds what the drains of all workers together bring into the log
	// at once, proposals and entries of peers each; one beyond it is taken for each
	// worker. A drain looks first whether the log is full, so that much and what the
	// log has queued must fit into its reserve. 0: no limit.
	DrainBytesMax int64
	// EntryBytesMax bounds the data of one proposal, below what one record of
	// the log may hold: 32 MiB.
	EntryBytesMax int
	// CatchUpBytesPerSecond limits what this node sends to replicas that catch up, see
	// pace.go; 0: no limit. A replica that lacks more than what is in memory gets its
	// new entries that way, too: below what clients write it never catches up.
	CatchUpBytesPerSecond int64
	// Clock is a monotonic clock: the time since any moment. Called by any goroutine.
	// Default: that of package time, which stands still while the machine sleeps.
	Clock func() time.Duration
	// NowMS is the wall clock in milliseconds handed to StateMachine.Stamp, and
	// told to the other nodes: time.Now. Called by any goroutine.
	NowMS func() int64
}

func (c *Config) setDefaults() {
	if c.Listener == nil {
		c.Listener = events.Discard
	}
	if c.Workers == 0 {
		c.Workers = min(max(1, runtime.GOMAXPROCS(0)/2), workersMax)
	}
	if c.Tick == 0 {
		c.Tick = TickDefault
	}
	if c.TailBytes == 0 {
		c.TailBytes = 64 << 20
	}
	if c.MailboxBytesMax == 0 {
		c.MailboxBytesMax = 64 << 20
	}
	if c.EntryBytesMax == 0 {
		c.EntryBytesMax = 32 << 20
	}
	if c.Clock == nil {
		began := time.Now()
		c.Clock = func() time.Duration { return time.Since(began) }
	}
	if c.NowMS == nil {
		c.NowMS = func() int64 { return time.Now().UnixMilli() }
	}
}

const workersMax = 16

// TickDefault is the length of a tick, in which Raft's time is counted.
const TickDefault = 20 * time.Millisecond

func (c *Config) validate() error {
	switch {
	case c.Node <= 0:
		return fmt.Errorf("node id %d is invalid", c.Node)
	case c.Log == nil:
		return errors.New("a log is required")
	case c.Workers < 1 || c.Workers > 1024:
		return fmt.Errorf("workers %d outside [1, 1024]", c.Workers)
	case c.Tick < time.Millisecond:
		return fmt.Errorf("tick %v is below a millisecond", c.Tick)
	case c.Poll < 0:
		return fmt.Errorf("poll interval %v is negative", c.Poll)
	case c.TailBytes < 0 || c.MailboxBytesMax < 1 || c.DrainBytesMax < 0 || c.EntryBytesMax < 1 || c.CatchUpBytesPerSecond < 0:
		return fmt.Errorf("limits of %d tail bytes, %d mailbox bytes, %d bytes a drain, %d entry bytes, %d bytes per second must be positive",
			c.TailBytes, c.MailboxBytesMax, c.DrainBytesMax, c.EntryBytesMax, c.CatchUpBytesPerSecond)
	}
	return nil
}

// Member is one replica of a group and the node it lives on.
type Member struct {
	Replica ids.ReplicaID
	Node    ids.NodeID
	Learner bool
}

// Spec describes one group on this node. The manager does not store it: whoever
// opens a group (from the metadata) gives it each time. Members must be the
// membership as of the state machine's applied index.
type Spec struct {
	Group   ids.GroupID
	Replica ids.ReplicaID // the member that lives here
	Members []Member
	// Conf, where set, is the membership that was kept with the state machine's
	// state; Members are then only where to find members.
	Conf *replica.Members
	// Promise is replica.Config.Promise, by Config.Clock: the same on all nodes, in all
	// their lives. 0: no leases.
	Promise time.Duration
	Cold    Cold // nil: the log holds everything there is
	// Snapshots lets a peer go on that lacks entries which are gone; nil: it
	// stays behind.
	Snapshots Snapshots
}

// Snapshots makes and keeps the snapshots of one group.
type Snapshots interface {
	// Take gives a snapshot of what is applied, see replica.Config.Take. Called
	// on the worker; it must not block.
	Take() (replica.Snapshot, error)
	// Install makes a snapshot durable that a peer sent: afterwards Cold ends at
	// its index, and a start finds its state. It may block. The group does
	// nothing else meanwhile; an error ends it.
	Install(s replica.Snapshot) error
}

// ErrExists means the group is open here as another replica.
var ErrExists = errors.New("group is open as another replica")

// ErrTooLarge means a proposal is above EntryBytesMax.
var ErrTooLarge = errors.New("entry too large")

// ErrNoGroup means the group is not open here.
var ErrNoGroup = errors.New("no such group")
