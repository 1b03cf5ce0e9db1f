package variants

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Lock is what a request takes on its way to its group.
type Lock string

const (
	LockNone Lock = ""
	// LockRead is an RWMutex of the node, read-locked while a request is handed over.
	LockRead Lock = "read"
	// LockReadWriter is LockRead with somebody who takes it for writing every WriterEvery.
	LockReadWriter Lock = "read-writer"
	// LockMutex is a Mutex of the node, held while a request is handed over.
	LockMutex Lock = "mutex"
	// LockExclusive is a Mutex of the node, held until the request is answered: across
	// the durable write.
	LockExclusive Lock = "exclusive"
	// LockPartition is LockExclusive with a Mutex for each partition: from propose to commit.
	LockPartition Lock = "partition"
)

// Batch is how requests become proposals.
type Batch string

const (
	BatchNatural Batch = ""       // what gathers while the log is busy is the next proposal
	BatchSingle  Batch = "single" // each request is a proposal of its own
	// BatchTimer holds a partition's requests until there are TimerEntries or the
	// first has waited for WindowWait, and proposes them as one.
	BatchTimer Batch = "timer"
	// BatchWindow is BatchTimer without the number: each request waits for the end of
	// the commit window.
	BatchWindow Batch = "window"
)

// Poll is when a worker looks for what there is to do.
type Poll string

const (
	PollNone Poll = ""     // when there is something
	Poll10ms Poll = "10ms" // every PollEvery
)

// Sync is how many entries share a sync.
type Sync string

const (
	SyncGroup Sync = ""     // all that gathered while the disk was busy
	SyncEach  Sync = "each" // each entry has its own
)

// The waits that are rules of arms, as the origin had them.
const (
	WriterEvery  = 10 * time.Millisecond
	PollEvery    = 10 * time.Millisecond
	WindowWait   = 100 * time.Millisecond
	TimerEntries = 100
)

// SyncWaitMax bounds Config.SyncWait: below what the log calls a stall (1 s) and what a
// follower waits for its leader (600 ms).
const SyncWaitMax = 500 * time.Millisecond

// Config chooses an arm. The zero value is the path as shipped.
type Config struct {
	// OnlyToMeasure is the word without which no other setting is taken.
	OnlyToMeasure bool
	Lock          Lock
	Batch         Batch
	Poll          Poll
	Sync          Sync
	Nested        bool // each entry waits for a commit in the metadata group
	// SyncWait is how much longer each sync of the log takes: the disk of somebody else.
	SyncWait time.Duration
}

// ErrRefused means that an arm was asked for which is not there, or without the
// word that it is only to measure.
var ErrRefused = errors.New("experiment refused")

// Shipped says that no arm is asked for.
func (c Config) Shipped() bool {
	c.OnlyToMeasure = false
	return c == Config{}
}

// Check says whether the arm can be had. Error: ErrRefused.
func (c Config) Check() error {
	for _, s := range []struct {
		name, value string
		known       []string
	}{
		{"lock", string(c.Lock), words(LockNone, LockRead, LockReadWriter, LockMutex, LockExclusive, LockPartition)},
		{"batch", string(c.Batch), words(BatchNatural, BatchSingle, BatchTimer, BatchWindow)},
		{"poll", string(c.Poll), words(PollNone, Poll10ms)},
		{"sync", string(c.Sync), words(SyncGroup, SyncEach)},
	} {
		if !slices.Contains(s.known, s.value) {
			return fmt.Errorf("%w: %s %q: want one of %q", ErrRefused, s.name, s.value, s.known[1:])
		}
	}
	if c.SyncWait < 0 || c.SyncWait > SyncWaitMax {
		return fmt.Errorf("%w: a sync that waits %v: want at most %v", ErrRefused, c.SyncWait, SyncWaitMax)
	}
	if !c.Shipped() && !c.OnlyToMeasure {
		return fmt.Errorf("%w: it makes the node slow on purpose; only a bench may ask for it, with only_to_measure: true", ErrRefused)
	}
	return nil
}

func words[T ~string](list ...T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

// PollInterval is multiraft.Config.Poll.
func (c Config) PollInterval() time.Duration {
	if c.Poll == Poll10ms {
		return PollEvery
	}
	return 0
}
