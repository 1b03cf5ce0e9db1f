package partition

import (
	"math"

	"dyno/engine/ids"
)

// rememberedBatches is how many batches of a producer can be recognised when
// they come again. Source: Kafka's ProducerStateEntry.NUM_BATCHES_TO_RETAIN;
// it bounds max.in.flight.requests.per.connection of idempotent producers.
const rememberedBatches = 5

// unticked marks a producer that wrote since the last tick.
const unticked = math.MinInt64

// batchMemo is what is kept of one applied batch.
type batchMemo struct {
	base     ids.Offset
	maxMS    int64
	firstSeq int32
	delta    int32 // last offset delta
}

// producer is the applied state of one producer. Invariant: 1 <= n <= 5; the
// newest memo is at (head+n-1)%5.
type producer struct {
	id           ids.ProducerID
	seenMS       int64 // the first tick after its last batch, or unticked
	newer, older int32 // slots, in order of the last write; none at the ends
	epoch        int16
	n, head      uint8
	memos        [rememberedBatches]batchMemo
}

const none = int32(-1)

// producers is the table of idempotent producers as all applied entries left
// it: a function of the entries alone, so it is the same on every replica.
//
// A producer is forgotten when more than max others wrote since, or when the
// clock command, in which the leader states its time now and then, finds that
// it did not write for expiryMS. Differs from Kafka: there each broker holds
// its own clock against the last batch's timestamp
// (ProducerStateManager.isProducerExpired); replicas would not agree, and one
// wrong timestamp from a client could make the partition forget producers that
// are alive and so let duplicates in.
type producers struct {
	slots          map[ids.ProducerID]int32
	all            []producer
	free           []int32
	newest, oldest int32
	clockMS        int64
	max            int
	expiryMS       int64
	expired        uint64 // counter: forgotten by time or count
}

func newProducers(limit int, expiryMS int64) producers {
	return producers{slots: map[ids.ProducerID]int32{}, newest: none, oldest: none,
		max: limit, expiryMS: expiryMS}
}

// find gives the state of a producer, nil if there is none. The pointer holds
// until the next apply.
func (t *producers) find(id ids.ProducerID) *producer {
	if s, ok := t.slots[id]; ok {
		return &t.all[s]
	}
	return nil
}

// last is the newest remembered batch.
func (p *producer) last() *batchMemo {
	return &p.memos[(p.head+p.n-1)%rememberedBatches]
}

// duplicate finds the remembered batch with exactly this range of sequences.
// Source: Kafka's ProducerStateEntry.findDuplicateBatch.
func (p *producer) duplicate(firstSeq, delta int32) *batchMemo {
	for i := uint8(0); i < p.n; i++ {
		m := &p.memos[(p.head+i)%rememberedBatches]
		if m.firstSeq == firstSeq && m.delta == delta {
			return m
		}
	}
	return nil
}

// apply notes an applied batch of an idempotent producer.
func (t *producers) apply(in *BatchInfo, base ids.Offset) {
	p := t.touch(in.ProducerID)
	if p.epoch != in.ProducerEpoch {
		p.epoch, p.n, p.head = in.ProducerEpoch, 0, 0
	}
	p.add(batchMemo{base: base, maxMS: in.MaxTimestampMS, firstSeq: in.BaseSequence, delta: in.LastOffsetDelta})
	p.seenMS = unticked
	if len(t.slots) > t.max {
		t.forget(t.oldest)
	}
}

// add remembers m and forgets the oldest memo where there is no room.
func (p *producer) add(m batchMemo) {
	if p.n == rememberedBatches {
		p.head = (p.head + 1) % rememberedBatches
		p.n--
	}
	p.memos[(p.head+p.n)%rememberedBatches] = m
	p.n++
}

// tick states the leader's time: who wrote since the last tick was alive until
// now, and who did not write for expiryMS is forgotten.
func (t *producers) tick(ms int64) {
	t.clockMS = max(t.clockMS, ms)
	for s := t.newest; s != none && t.all[s].seenMS == unticked; s = t.all[s].older {
		t.all[s].seenMS = t.clockMS
	}
	for t.oldest != none && t.clockMS-t.all[t.oldest].seenMS >= t.expiryMS {
		t.forget(t.oldest)
	}
}

// touch finds or makes the producer and makes it the newest.
func (t *producers) touch(id ids.ProducerID) *producer {
	s, ok := t.slots[id]
	switch {
	case !ok:
		s = t.slot()
		t.all[s] = producer{id: id, epoch: -1}
		t.slots[id] = s
	case s == t.newest:
		return &t.all[s]
	default:
		t.unlink(s)
	}
	p := &t.all[s]
	p.newer, p.older = none, t.newest
	if t.newest != none {
		t.all[t.newest].newer = s
	} else {
		t.oldest = s
	}
	t.newest = s
	return p
}

// slot takes a free slot.
func (t *producers) slot() int32 {
	if n := len(t.free); n > 0 {
		s := t.free[n-1]
		t.free = t.free[:n-1]
		return s
	}
	t.all = append(t.all, producer{})
	return int32(len(t.all) - 1)
}

func (t *producers) unlink(s int32) {
	p := &t.all[s]
	if p.newer != none {
		t.all[p.newer].older = p.older
	} else {
		t.newest = p.older
	}
	if p.older != none {
		t.all[p.older].newer = p.newer
	} else {
		t.oldest = p.newer
	}
}

// forget drops the producer in slot s.
func (t *producers) forget(s int32) {
	t.unlink(s)
	delete(t.slots, t.all[s].id)
	t.free = append(t.free, s)
	t.expired++
}
