package natspeer

// ledger remembers where each acknowledged message of one publisher is: its
// sequence in its stream, by its number. Streams are fresh, so a sequence fits
// 32 bits, and a message costs four bytes. It grows in chunks: doubling would
// copy tens of megabytes in the middle of a window.
//
// Owner: the publisher's answers, one at a time; after the load the verifier.
type ledger struct {
	chunks []*[ledgerChunk]uint32
}

const (
	ledgerChunk = 64 << 10
	// sequenceMax is the last sequence a ledger can hold; found is kept free.
	sequenceMax = 1<<32 - 2
	// found stands in the place of a sequence that was read back.
	found = 1<<32 - 1
)

// at is the place of a number; nil if nothing was ever put near it.
func (l *ledger) at(number uint64) *uint32 {
	c := number / ledgerChunk
	if c >= uint64(len(l.chunks)) || l.chunks[c] == nil {
		return nil
	}
	return &l.chunks[c][number%ledgerChunk]
}

// put notes the sequence of an acknowledged message.
func (l *ledger) put(number uint64, sequence uint32) {
	c := number / ledgerChunk
	for c >= uint64(len(l.chunks)) {
		l.chunks = append(l.chunks, nil)
	}
	if l.chunks[c] == nil {
		l.chunks[c] = new([ledgerChunk]uint32)
	}
	l.chunks[c][number%ledgerChunk] = sequence
}

// each yields the acknowledged messages in the order of their numbers.
func (l *ledger) each(yield func(number uint64, sequence uint32)) {
	for c, chunk := range l.chunks {
		if chunk == nil {
			continue
		}
		for i, seq := range chunk {
			if seq != 0 {
				yield(uint64(c)*ledgerChunk+uint64(i), seq)
			}
		}
	}
}

// bitset is a set of small numbers that grows as needed.
type bitset []uint64

// add puts n in and says whether it was new.
func (b *bitset) add(n uint64) bool {
	for n/64 >= uint64(len(*b)) {
		*b = append(*b, 0)
	}
	w := &(*b)[n/64]
	old := *w
	*w |= 1 << (n % 64)
	return *w != old
}
