package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"dyno/engine/ids"
)

// The state blob, kept with each checkpoint of L1, big-endian:
//
//	version 1 (1), seen index (8), log start (8), clock ms (8)
//	epochs (4), each: epoch (4), start offset (8)
//	producers (4), the one that wrote longest ago first, each:
//	    id (8), seen ms (8), epoch (2), memos (1), each, oldest first:
//	        base (8), max ms (8), first sequence (4), last offset delta (4)
//	crc32c of all before (4)
//
// It holds what cannot be read back from the batches, as of the entry seen:
// the last one applied when State was called. L1 ends at or before it, so after
// a restart the entries between are applied again on top of a state that
// already has them. That converges because producers, clock and log start skip
// every entry at or below seen (they were part of the blob), while offsets,
// index and epochs are rebuilt from L1's end on (a table entry that exists is
// kept). All entries up to seen are committed, so the entries applied again
// are the same ones. Until they are applied this replica cannot lead, as
// leading needs an entry of its own term applied, which comes after them.
const (
	stateVersion  = 1
	stateHeader   = 25
	epochBytes    = 12
	producerBytes = 19
	memoBytes     = 24
)

// State encodes what a checkpoint of L1 must keep beside the batches, as of the
// last entry applied. Call it after the entries were written to L1 and before
// Checkpoint. Any goroutine may call; it waits for a running Apply.
func (p *Partition) State() []byte {
	p.applying.Lock()
	defer p.applying.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.producers
	b := make([]byte, 0, stateHeader+8+len(p.epochs)*epochBytes+len(t.slots)*(producerBytes+rememberedBatches*memoBytes)+4)
	b = append(b, stateVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(max(p.applied, p.seen)))
	b = binary.BigEndian.AppendUint64(b, uint64(p.start))
	b = binary.BigEndian.AppendUint64(b, uint64(t.clockMS))
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.epochs)))
	for _, e := range p.epochs {
		b = binary.BigEndian.AppendUint32(b, uint32(e.epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(e.start))
	}
	b = t.encode(b)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (t *producers) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.slots)))
	for s := t.oldest; s != none; s = t.all[s].newer {
		p := &t.all[s]
		b = binary.BigEndian.AppendUint64(b, uint64(p.id))
		b = binary.BigEndian.AppendUint64(b, uint64(p.seenMS))
		b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
		b = append(b, p.n)
		for i := uint8(0); i < p.n; i++ {
			m := &p.memos[(p.head+i)%rememberedBatches]
			b = binary.BigEndian.AppendUint64(b, uint64(m.base))
			b = binary.BigEndian.AppendUint64(b, uint64(m.maxMS))
			b = binary.BigEndian.AppendUint32(b, uint32(m.firstSeq))
			b = binary.BigEndian.AppendUint32(b, uint32(m.delta))
		}
	}
	return b
}

// restore reads what State wrote; nil or empty is the state of an empty log.
// It never panics.
func (p *Partition) restore(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d, err := openState(b)
	if err != nil {
		return err
	}
	p.seen = ids.LogIndex(d.u64())
	p.start = ids.Offset(d.u64())
	p.producers.clockMS = int64(d.u64())
	last := ids.LeaderEpoch(-1)
	for n := d.count(epochBytes); n > 0; n-- {
		e := epochStart{ids.LeaderEpoch(d.u32()), ids.Offset(d.u64())}
		if e.epoch <= last || e.start < 0 {
			return fmt.Errorf("%w: epoch %d at %d after epoch %d", ErrCheckpoint, e.epoch, e.start, last)
		}
		last = e.epoch
		p.epochs = append(p.epochs, e)
	}
	for n := d.count(producerBytes); n > 0 && !d.short; n-- {
		p.producers.decode(d)
	}
	if d.short || len(d.b) > 0 || p.start < 0 || d.bad {
		return fmt.Errorf("%w: fields out of bounds", ErrCheckpoint)
	}
	return nil
}

func openState(b []byte) (*decoder, error) {
	if len(b) < stateHeader+12 || b[0] != stateVersion {
		return nil, fmt.Errorf("%w: %d bytes, version %d", ErrCheckpoint, len(b), b[0])
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum", ErrCheckpoint)
	}
	return &decoder{b: body[1:]}, nil
}

// decode reads one producer and makes it the newest.
func (t *producers) decode(d *decoder) {
	id, seen, epoch, n := ids.ProducerID(d.u64()), int64(d.u64()), int16(d.u16()), d.u8()
	if _, known := t.slots[id]; known || id < 0 || epoch < 0 || n == 0 || n > rememberedBatches {
		d.bad, d.b = true, nil
		d.short = true
		return
	}
	p := t.touch(id)
	p.seenMS, p.epoch = seen, epoch
	for ; n > 0; n-- {
		m := batchMemo{base: ids.Offset(d.u64()), maxMS: int64(d.u64()), firstSeq: int32(d.u32()), delta: int32(d.u32())}
		d.bad = d.bad || m.base < 0 || m.firstSeq < 0 || m.delta < 0
		p.add(m)
	}
}

// decoder reads fixed-size fields; after the end it gives zeros and notes it.
type decoder struct {
	b          []byte
	short, bad bool
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.short, d.b = true, nil
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8   { return d.take(1)[0] }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) u32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

// count reads a number of items of at least size bytes each.
func (d *decoder) count(size int) int {
	n := int(d.u32())
	if n > len(d.b)/size {
		d.short, d.b = true, nil
		return 0
	}
	return n
}

// Moved says that all entries up to and with upTo are in L1, checkpointed:
// reads of their batches go there from now on. Call it before the log lets the
// entries go. Any goroutine may call.
func (p *Partition) Moved(upTo ids.LogIndex) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index.drop(upTo)
	p.moved = max(p.moved, upTo)
}
