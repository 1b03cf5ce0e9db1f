package kafka

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// refusedMax bounds what one connection remembers as refused; beyond it one is
// forgotten for each that comes, and counted.
const refusedMax = 4096

// refusals keeps the order of an idempotent producer that pipelines batches
// while the log has no room: once one is refused, those behind it are refused,
// too, until the first comes again. Otherwise a later one would be accepted (a
// producer without state may begin at any sequence) and the refused one would
// be out of sequence for ever.
//
// One is forgotten when the batch comes again, with another producer epoch or
// another leader epoch, and after a time in which no client is silent that
// means to come back. The reply to a refused batch is no such end: what the
// client sent before it got the reply is still to be read.
//
// While nothing is refused it costs one atomic load a batch. Callers: the
// connection's reader, and add also the log's goroutines.
type refusals struct {
	n     atomic.Int32 // len(m)
	mu    sync.Mutex
	m     map[refusedKey]refused // guarded by mu; nil while empty
	sweep time.Duration          // server time to look for old ones; guarded by mu
}

type refusedKey struct {
	part Partition
	pid  ids.ProducerID
}

type refused struct {
	err    error
	seq    int32 // of the first batch refused
	epoch  int16
	leader ids.LeaderEpoch // leaderUnknown: the next look fills it in
	until  time.Duration
}

const leaderUnknown ids.LeaderEpoch = -1

// unwritten says that a batch was refused for want of room, and surely not
// written.
func unwritten(err error) bool {
	return errors.Is(err, replica.ErrOverloaded) || errors.Is(err, replica.ErrDiskFull)
}

// add remembers that the batch in was refused for err, and says whether it had to
// forget another one for that.
func (r *refusals) add(part Partition, in *partition.BatchInfo, leader ids.LeaderEpoch, until time.Duration, err error) (forgot bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := refusedKey{part, in.ProducerID}
	e, ok := r.m[key]
	switch {
	case ok && e.epoch == in.ProducerEpoch && behind(in.BaseSequence, e.seq):
		e.until = max(e.until, until)
		r.m[key] = e
		return false
	case !ok && len(r.m) >= refusedMax:
		for k := range r.m {
			delete(r.m, k)
			forgot = true
			break
		}
	case r.m == nil:
		r.m = map[refusedKey]refused{}
	}
	r.m[key] = refused{err: err, seq: in.BaseSequence, epoch: in.ProducerEpoch, leader: leader, until: until}
	r.n.Store(int32(len(r.m)))
	return forgot
}

// look returns why the batch in must be refused for the sake of one before it;
// nil lets it through.
func (r *refusals) look(part Partition, in *partition.BatchInfo, now, hold time.Duration) error {
	if r.n.Load() == 0 || in.ProducerID < 0 {
		return nil
	}
	_, leader := part.Leader()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if r.n.Store(int32(len(r.m))); len(r.m) == 0 {
			r.m = nil
		}
	}()
	if now >= r.sweep {
		r.sweep = now + hold
		for k, e := range r.m {
			if now >= e.until {
				delete(r.m, k)
			}
		}
	}
	key := refusedKey{part, in.ProducerID}
	e, ok := r.m[key]
	if !ok {
		return nil
	}
	if e.leader == leaderUnknown {
		e.leader = leader
		r.m[key] = e
	}
	if now < e.until && e.leader == leader && e.epoch == in.ProducerEpoch && behind(in.BaseSequence, e.seq) {
		return e.err
	}
	delete(r.m, key)
	return nil
}

// behind says whether sequence a comes after b; they wrap at 2^31.
func behind(a, b int32) bool {
	d := (a - b) & (1<<31 - 1)
	return d != 0 && d < 1<<30
}
