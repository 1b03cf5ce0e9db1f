package replica

import (
	"fmt"
	"slices"
	"time"

	"dyno/engine/ids"
)

// Config configures one Replica. Zero values mean the defaults named here.
type Config struct {
	Group ids.GroupID   // required
	ID    ids.ReplicaID // required
	// Voters and Learners are the members of the group as of the state
	// machine's applied index. They are not read from the log: whoever opens
	// the group takes them from the metadata.
	Voters   []ids.ReplicaID
	Learners []ids.ReplicaID
	// Members, where set, takes the place of both: a membership that was kept
	// with the state machine's state, of its entry or a later one. Changes up to
	// Members.At are not applied again.
	Members *Members

	ElectionTicks  int // ticks without a leader before an election: 30
	HeartbeatTicks int // ticks between heartbeats: 5

	// QuietTicks is how long nothing happens before a group goes quiet, see
	// quiet.go; 0 means never. The owner must then tell of nodes that are gone.
	QuietTicks int

	MessageBytesMax     int64 // entries in one message to a peer: 256 KiB
	InflightMessagesMax int   // unanswered appends to one peer: 256
	InflightBytesMax    int64 // the same in bytes: 8 MiB
	// UncommittedBytesMax bounds what a leader has proposed and not yet
	// applied; more waits in the queue: 32 MiB. One entry always fits.
	UncommittedBytesMax int64
	ApplyBytesMax       int64 // entries handed to one Apply: 4 MiB
	// QueueBytesMax bounds the proposals that wait for room or for the end of
	// an election; beyond it they fail with ErrOverloaded: 32 MiB.
	QueueBytesMax int64
	ReadsMax      int // unanswered ReadIndex calls: 10,000
	// Single gives every entry a MsgProp of its own instead of one to all that wait:
	// the arm of an experiment.
	Single bool

	// Take gives a snapshot of the state machine, at or beyond the entry before
	// the log's first, on the owner's goroutine and without I/O. nil: a replica
	// that lacks entries nobody has any more stays behind.
	Take func() (Snapshot, error)
	// SnapshotTicks is how long a peer may take to answer a snapshot before it
	// is asked anew: 100.
	SnapshotTicks int

	// CatchUp limits what peers are sent that lack more than what is in memory, and
	// snapshots; nil: no limit.
	CatchUp Pace

	// Promise is how long a voter gives no vote after it has answered a leader's round,
	// which lets that leader read by itself meanwhile: see lease.go. All voters of a
	// group have the same, at all times. 0: no leases.
	Promise time.Duration
	// Clock is a monotonic clock that also runs while the machine sleeps; required with
	// Promise. Called on the owner's goroutine.
	Clock func() time.Duration

	// ReadSeed makes the contexts of ReadIndex differ from those of earlier
	// incarnations of this replica: the start time will do.
	ReadSeed uint64
}

func (c *Config) setDefaults() {
	def(&c.ElectionTicks, 30)
	def(&c.HeartbeatTicks, 5)
	def(&c.MessageBytesMax, 256<<10)
	def(&c.InflightMessagesMax, 256)
	def(&c.InflightBytesMax, 8<<20)
	def(&c.UncommittedBytesMax, 32<<20)
	def(&c.ApplyBytesMax, 4<<20)
	def(&c.QueueBytesMax, 32<<20)
	def(&c.ReadsMax, 10_000)
	def(&c.SnapshotTicks, 100)
}

func def[T int | int64](p *T, value T) {
	if *p == 0 {
		*p = value
	}
}

func (c *Config) validate() error {
	switch {
	case c.Group == 0:
		return fmt.Errorf("group id 0 is invalid")
	case c.ID == 0:
		return fmt.Errorf("group %d: replica id 0 is invalid", c.Group)
	case len(c.Voters) == 0 && c.Members == nil:
		return fmt.Errorf("group %d: no voters", c.Group)
	case slices.Contains(c.Voters, 0) || slices.Contains(c.Learners, 0):
		return fmt.Errorf("group %d: replica id 0 among the members", c.Group)
	case c.HeartbeatTicks < 1 || c.ElectionTicks <= c.HeartbeatTicks:
		return fmt.Errorf("group %d: election ticks %d must exceed heartbeat ticks %d, both at least 1",
			c.Group, c.ElectionTicks, c.HeartbeatTicks)
	case c.MessageBytesMax < 1 || c.InflightBytesMax < c.MessageBytesMax || c.InflightMessagesMax < 1:
		return fmt.Errorf("group %d: in-flight limits %d messages, %d bytes must hold a message of %d bytes",
			c.Group, c.InflightMessagesMax, c.InflightBytesMax, c.MessageBytesMax)
	case c.Promise < 0 || c.Promise > 0 && c.Clock == nil:
		return fmt.Errorf("group %d: a promise of %v needs a clock", c.Group, c.Promise)
	case c.UncommittedBytesMax < 1 || c.ApplyBytesMax < 1 || c.QueueBytesMax < 1 || c.ReadsMax < 1:
		return fmt.Errorf("group %d: limits must be positive", c.Group)
	}
	return nil
}
