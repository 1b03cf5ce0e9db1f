package partition

import (
	"fmt"
	"sync"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Hot gives the log entries that are not in L1.
type Hot interface {
	// Read returns entries from lo on, in order and without gaps, up to and
	// without hi, all of them applied: as many as fit maxBytes, but at least
	// one, also while the turn that applied them is not over. It may read the disk.
	// replica.ErrCompacted means lo was cut from the log. Safe for concurrent use.
	Read(lo, hi ids.LogIndex, maxBytes int64) ([]replica.Entry, error)
}

// Cold is L1, the files of batches moved out of the log; engine/store's Log is
// one. All methods but End and Start may read the disk; all are safe for
// concurrent use.
// Batches are checked against their checksum.
type Cold interface {
	// End gives the last log index held, 0 if none ever was, and the offset
	// after the last batch.
	End() (ids.LogIndex, ids.Offset)
	// Start is the offset where the first batch held begins, or would.
	Start() ids.Offset
	// ReadOffset returns the batches from the one that holds offset on, whole,
	// as many as fit maxBytes; with one, at least the first. None is no error.
	ReadOffset(offset ids.Offset, maxBytes int, one bool) ([][]byte, error)
	// ByTime returns the first batch that ends after from and whose largest
	// timestamp is at least ms; nil if there is none.
	ByTime(ms int64, from ids.Offset) ([]byte, error)
	// MaxTime returns the first batch with the largest timestamp among those
	// that end after from; nil if there is none.
	MaxTime(from ids.Offset) ([]byte, error)
}

// Config configures New. Zero values mean the defaults named here.
type Config struct {
	Settings Settings
	// Cold is the partition's L1; nil means the log is never moved.
	Cold Cold
	// State is what State gave when Cold was checkpointed last; nil if never.
	State []byte
	// ProducersMax bounds the idempotent producers remembered: 16384.
	ProducersMax int
	// ProducerExpiryMS forgets a producer that did not write for so long:
	// 86,400,000 (a day). Source: Kafka's producer.id.expiration.ms.
	ProducerExpiryMS int64
	// ParkedMax bounds the duplicates waiting for their original: 1024.
	ParkedMax int
	// ParkedFull counts the duplicates refused with ErrOverloaded because of
	// ParkedMax. Partitions may share it, and what it counted outlives them; nil
	// if nobody reads it.
	ParkedFull *atomic.Uint64
}

func (c *Config) setDefaults() {
	if c.ProducersMax == 0 {
		c.ProducersMax = 16384
	}
	if c.ProducerExpiryMS == 0 {
		c.ProducerExpiryMS = 24 * 60 * 60 * 1000
	}
	if c.ParkedMax == 0 {
		c.ParkedMax = 1024
	}
	if c.ParkedFull == nil {
		c.ParkedFull = new(atomic.Uint64)
	}
}

func (c *Config) validate() error {
	if c.ProducersMax < 0 || c.ProducerExpiryMS < 0 || c.ParkedMax < 0 {
		return fmt.Errorf("partition: negative limit in %+v", *c)
	}
	return nil
}

// Partition is the Kafka view of one replicated log, and the state machine
// that the replica drives. See the package documentation for who calls what.
type Partition struct {
	settings   atomic.Pointer[Settings]
	parkedMax  int
	parkedFull *atomic.Uint64
	cold       Cold
	watch      watchers

	// Owner: the worker.
	leading bool
	term    ids.Term
	next    ids.Offset // what Stamp gives out next
	pending pending
	freed   []stamped // applied with duplicates parked: answered after publishing

	// logEnd is next for readers on other goroutines.
	logEnd atomic.Int64

	// applying is held by the worker for one Apply, by State for one call: it
	// guards what entries build and only the worker reads otherwise.
	// Lock order: applying, then mu.
	applying  sync.Mutex
	producers producers
	applied   ids.LogIndex
	seen      ids.LogIndex // State covered entries up to here: see checkpoint.go
	stats     Stats

	// mu guards what readers look up; it is held for a search or for a chunk of
	// entries, never over I/O.
	mu     sync.Mutex
	hot    Hot
	index  hotIndex // index.end is the high watermark
	epochs epochs
	start  ids.Offset
	moved  ids.LogIndex
}

// Stats are counters since New.
type Stats struct {
	Batches, Bytes   uint64 // applied
	Duplicates       uint64 // answered without an append
	Parked           uint64 // duplicates that had to wait for their original
	ProducersExpired uint64
	Producers        int // remembered now
}

// New makes a partition from what L1 holds: the entries above it have to be
// applied again. Attach comes before the first Read. Errors: ErrCheckpoint.
func New(c Config) (*Partition, error) {
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := &Partition{parkedMax: c.ParkedMax, parkedFull: c.ParkedFull, cold: c.Cold, pending: newPending(),
		producers: newProducers(c.ProducersMax, c.ProducerExpiryMS)}
	p.SetSettings(c.Settings)
	if c.Cold != nil {
		p.applied, p.index.end = c.Cold.End()
		p.moved = p.applied
	}
	if err := p.restore(c.State); err != nil {
		return nil, err
	}
	if c.Cold != nil {
		// Files were deleted after State was taken: the command that moved the
		// log start is applied again, but nobody must read below it until then.
		p.setStart(c.Cold.Start())
	}
	p.setNext(p.index.end)
	return p, nil
}

// Attach tells where entries that are not in L1 are read.
func (p *Partition) Attach(h Hot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hot = h
}

// Settings are the topic's configs in force: shared, never change them.
// SetSettings replaces them. Neither blocks; any goroutine may call.
func (p *Partition) Settings() *Settings { return p.settings.Load() }

func (p *Partition) SetSettings(s Settings)  { p.settings.Store(&s) }
func (p *Partition) setNext(next ids.Offset) { p.next = next; p.logEnd.Store(int64(next)) }

// Offsets are the borders now. LogEnd counts what a leader stamped and not yet
// committed; on a follower it is the high watermark. Any goroutine may call.
func (p *Partition) Offsets() Offsets {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offsets()
}

// offsets needs mu. After a restart the log start can be known ahead of the
// entries that are applied again: it shows as the high watermark until then.
// Without transactions all that is committed is stable.
func (p *Partition) offsets() Offsets {
	hw := p.index.end
	return Offsets{LogStart: min(p.start, hw), LastStable: hw, HighWatermark: hw,
		LogEnd: max(hw, ids.Offset(p.logEnd.Load()))}
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch at or below the one
// asked for and where it ends (exclusive). The latest epoch ends at the log
// end. Any goroutine may call. Source: KIP-101, KIP-320.
func (p *Partition) EpochEnd(epoch ids.LeaderEpoch) EpochEnd {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epochs.end(epoch, p.offsets().LogEnd)
}

// Stats may be called from any goroutine; it waits for a running Apply.
func (p *Partition) Stats() Stats {
	p.applying.Lock()
	defer p.applying.Unlock()
	s := p.stats
	s.ProducersExpired, s.Producers = p.producers.expired, len(p.producers.slots)
	return s
}

var _ replica.StateMachine = (*Partition)(nil)
