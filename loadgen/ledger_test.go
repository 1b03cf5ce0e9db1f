package loadgen

import (
	"testing"

	"pgregory.net/rapid"
)

// twin is the dumb ledger: a map.
type twin struct {
	fates map[uint64]fate
	seen  map[uint64]bool
	high  int64
}

// TestLedgerTwin drives a ledger and a map with the same answers and sightings.
func TestLedgerTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLedger(2)
		tw := twin{fates: map[uint64]fate{}, seen: map[uint64]bool{}, high: -1}
		const part = 1
		n := rapid.IntRange(1, 3*chunkRecords).Draw(rt, "records")
		for range n {
			l.next(part)
		}
		settleSome(rt, l, part, n, &tw)
		p := &l.parts[part]
		for seq := range uint64(n) {
			if got, want := p.fateOf(seq), tw.fates[seq]; got != want {
				rt.Fatalf("fate of %d is %d, want %d", seq, got, want)
			}
		}
		seeSome(rt, p, n, &tw)
		var lost int64
		for seq, f := range tw.fates {
			if f == fateAcked && !tw.seen[seq] {
				lost++
			}
		}
		var first []uint64
		if got := p.lost(3, func(seq uint64) { first = append(first, seq) }); got != lost {
			rt.Fatalf("%d lost, want %d", got, lost)
		}
		for _, seq := range first {
			if tw.fates[seq] != fateAcked || tw.seen[seq] {
				rt.Fatalf("record %d is named lost", seq)
			}
		}
		for seq := range uint64(n) {
			if got := p.seenAt(seq); got != tw.seen[seq] {
				rt.Fatalf("record %d was read back: %v", seq, got)
			}
		}
	})
}

// settleSome answers most records, in a mildly shuffled order, mostly acked.
func settleSome(rt *rapid.T, l *ledger, part int32, n int, tw *twin) {
	order := make([]uint64, n)
	for i := range order {
		order[i] = uint64(i)
	}
	for range rapid.IntRange(0, 20).Draw(rt, "swaps") {
		i, j := rapid.IntRange(0, n-1).Draw(rt, "i"), rapid.IntRange(0, n-1).Draw(rt, "j")
		order[i], order[j] = order[j], order[i]
	}
	odd := map[int]fate{}
	for range rapid.IntRange(0, 20).Draw(rt, "odd") {
		odd[rapid.IntRange(0, n-1).Draw(rt, "at")] = rapid.SampledFrom([]fate{fateSent, fateFailed, fateUnknown}).Draw(rt, "fate")
	}
	for i, seq := range order {
		f := fateAcked
		if o, ok := odd[i]; ok {
			f = o
		}
		if f != fateSent {
			l.settle(part, seq, f)
			tw.fates[seq] = f
		}
	}
}

// seeSome reads records back with gaps, repeats and jumps and checks every verdict.
func seeSome(rt *rapid.T, p *partitionLedger, n int, tw *twin) {
	at := 0
	for range rapid.IntRange(0, 40).Draw(rt, "stretches") {
		at = max(0, min(n, at+rapid.SampledFrom([]int{0, 0, 0, 1, -1, 64, -100}).Draw(rt, "jump")))
		for range rapid.IntRange(1, 300).Draw(rt, "length") {
			seq := uint64(at)
			at++
			want := sightGood
			switch {
			case seq >= uint64(n):
				want = sightPhantom
			case tw.seen[seq]:
				want = sightDuplicate
			case int64(seq) < tw.high:
				want = sightReordered
			}
			if want != sightPhantom {
				tw.seen[seq] = true
				tw.high = max(tw.high, int64(seq))
			}
			if got := p.see(seq); got != want {
				rt.Fatalf("sighting of %d is %d, want %d", seq, got, want)
			}
		}
	}
}

// TestLedgerMemory: a million records in order leave no bitmap behind, and answers in disorder only while they are mixed.
func TestLedgerMemory(t *testing.T) {
	l := newLedger(1)
	const n = 1_000_000
	for range n {
		l.next(0)
	}
	for seq := uint64(0); seq < n; seq += 2 { // pairs answered backwards
		l.settle(0, seq+1, fateAcked)
		l.settle(0, seq, fateAcked)
	}
	bitmaps := len(l.free)
	for i := range l.parts[0].chunks {
		if l.parts[0].chunks[i].bits != nil {
			bitmaps++
		}
	}
	if bitmaps > 1 {
		t.Fatalf("%d bitmaps for %d records answered nearly in order", bitmaps, n)
	}
}

func TestLedgerSettleAllocatesRarely(t *testing.T) {
	l := newLedger(1)
	l.parts[0].chunks = make([]chunk, 0, 1000)
	seq := uint64(0)
	if n := testing.AllocsPerRun(100_000, func() {
		l.settle(0, seq, fateAcked)
		seq++
	}); n != 0 {
		t.Fatalf("%v allocations per settled record", n)
	}
}
