package loadgen

// fate is what the client learned of a record.
type fate uint8

const (
	fateSent    fate = iota // no answer yet; after the run it counts as unknown
	fateAcked               // acknowledged; at acks 0: handed to the socket
	fateFailed              // refused by an answer
	fateUnknown             // timed out, cut off or aborted: present or absent, both are right
)

// The ledger keeps two bits of fate per record in chunks of chunkRecords. A chunk whose records have all met the same fate folds
// into one byte, so the memory of a healthy run is the bitmaps of what is in flight (256 B per producer and partition, rounded up
// to chunks) and a chunk entry of 16 B per 1,024 settled records: 0.125 bits per record. The worst case, every chunk mixed, is
// 2 bits and the entry. The acknowledged offset is kept of one record in placedEvery: 1 bit per record. Verification adds one bit of presence per record, folded the same way.
const (
	chunkRecords = 1024
	chunkWords   = chunkRecords * 2 / 64
	seenWords    = chunkRecords / 64
	placedEvery  = 64
)

type fateBits [chunkWords]uint64

type chunk struct {
	bits    *fateBits // nil: every settled record of the chunk has fate uniform
	settled uint16    // records with a fate other than sent
	uniform fate
}

// partitionLedger is what one producer knows of the records it sent to one partition.
type partitionLedger struct {
	sent   uint64 // next sequence; owner: the sender
	chunks []chunk
	seen   []*[seenWords]uint64 // presence, made by verification; a folded chunk is seenFull
	at     uint64               // verification: 1 + the highest sequence seen
	placed []int64              // 1 + acknowledged offset of every placedEvery-th record; 0: none was named
}

// seenFull marks a chunk of which every record was seen.
var seenFull [seenWords]uint64

// ledger is one producer's. settle is called by one goroutine at a time (the client library calls promises serially), next by the
// sender; everything else after both have ended. free keeps folded bitmaps for reuse.
type ledger struct {
	parts []partitionLedger
	free  []*fateBits
}

func newLedger(partitions int) *ledger { return &ledger{parts: make([]partitionLedger, partitions)} }

// next takes the next sequence of a partition.
func (l *ledger) next(partition int32) uint64 {
	p := &l.parts[partition]
	seq := p.sent
	p.sent++
	return seq
}

// settle notes the fate of a record, once.
func (l *ledger) settle(partition int32, seq uint64, f fate) {
	p := &l.parts[partition]
	ci := int(seq / chunkRecords)
	for len(p.chunks) <= ci {
		p.chunks = append(p.chunks, chunk{})
	}
	c := &p.chunks[ci]
	i := seq % chunkRecords
	if c.bits == nil {
		// Invariant: a chunk without a bitmap holds settled records 0..settled of one fate. Answers come in order almost
		// always, so the bitmap is needed for stragglers only.
		if uint64(c.settled) == i && (i == 0 || c.uniform == f) {
			c.uniform = f
			c.settled++
			return
		}
		l.unfold(c)
	}
	c.bits[i/32] |= uint64(f) << (i % 32 * 2)
	c.settled++
	if c.settled == chunkRecords {
		l.fold(c)
	}
}

// place keeps the offset an acknowledgement named, of a sample of the records. Called as settle is.
func (l *ledger) place(partition int32, seq uint64, offset int64) {
	if seq%placedEvery != 0 || offset < 0 {
		return
	}
	p, i := &l.parts[partition], int(seq/placedEvery)
	for len(p.placed) <= i {
		p.placed = append(p.placed, 0)
	}
	p.placed[i] = offset + 1
}

// misplaced tells whether a record was read at another offset than its acknowledgement named; false where that was not kept.
func (p *partitionLedger) misplaced(seq uint64, offset int64) bool {
	i := int(seq / placedEvery)
	return seq%placedEvery == 0 && i < len(p.placed) && p.placed[i] != 0 && p.placed[i] != offset+1
}

// unfold gives a chunk its bitmap.
func (l *ledger) unfold(c *chunk) {
	if n := len(l.free); n > 0 {
		c.bits, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c.bits = new(fateBits)
	}
	for i := range uint64(c.settled) {
		c.bits[i/32] |= uint64(c.uniform) << (i % 32 * 2)
	}
}

// fold drops the bitmap of a full chunk of one fate.
func (l *ledger) fold(c *chunk) {
	f := fate(c.bits[0] & 3)
	word := uint64(f) * 0x5555555555555555
	for _, w := range c.bits {
		if w != word {
			return
		}
	}
	*c.bits = fateBits{}
	l.free = append(l.free, c.bits)
	c.bits, c.uniform = nil, f
}

// fateOf is the fate of a sent record.
func (p *partitionLedger) fateOf(seq uint64) fate {
	ci := int(seq / chunkRecords)
	if ci >= len(p.chunks) {
		return fateSent
	}
	c := &p.chunks[ci]
	i := seq % chunkRecords
	if c.bits != nil {
		return fate(c.bits[i/32] >> (i % 32 * 2) & 3)
	}
	if i < uint64(c.settled) {
		return c.uniform
	}
	return fateSent
}

// sighting is what verification says of one record that was read back intact.
type sighting uint8

const (
	sightGood sighting = iota
	sightDuplicate
	sightReordered // after a record that was sent later
	sightPhantom   // a sequence this producer never sent: the header lies, so the record counts as corrupted
)

// see notes that a record was read, in offset order of its partition.
func (p *partitionLedger) see(seq uint64) sighting {
	if seq >= p.sent {
		return sightPhantom
	}
	ci, i := int(seq/chunkRecords), seq%chunkRecords
	for len(p.seen) <= ci {
		p.seen = append(p.seen, nil)
	}
	s := p.seen[ci]
	if s == nil {
		s = new([seenWords]uint64)
		p.seen[ci] = s
	}
	if s == &seenFull || s[i/64]>>(i%64)&1 == 1 {
		return sightDuplicate
	}
	s[i/64] |= 1 << (i % 64)
	if i%64 == 63 || i == chunkRecords-1 {
		p.foldSeen(ci)
	}
	if seq < p.at {
		return sightReordered
	}
	p.at = seq + 1
	return sightGood
}

func (p *partitionLedger) foldSeen(ci int) {
	for _, w := range p.seen[ci] {
		if w != ^uint64(0) {
			return
		}
	}
	p.seen[ci] = &seenFull
}

// seenAt tells whether a record was read back.
func (p *partitionLedger) seenAt(seq uint64) bool {
	ci, i := int(seq/chunkRecords), seq%chunkRecords
	if ci >= len(p.seen) || p.seen[ci] == nil {
		return false
	}
	return p.seen[ci] == &seenFull || p.seen[ci][i/64]>>(i%64)&1 == 1
}

// lost counts acknowledged records that were not read back and calls found with the first of them, at most limit times.
func (p *partitionLedger) lost(limit int, found func(seq uint64)) (n int64) {
	for ci := range p.chunks {
		c := &p.chunks[ci]
		full := ci < len(p.seen) && p.seen[ci] == &seenFull
		if full || c.bits == nil && c.uniform != fateAcked {
			continue
		}
		for i := range uint64(chunkRecords) {
			seq := uint64(ci)*chunkRecords + i
			if seq < p.sent && p.fateOf(seq) == fateAcked && !p.seenAt(seq) {
				if n++; limit > 0 {
					limit--
					found(seq)
				}
			}
		}
	}
	return n
}
