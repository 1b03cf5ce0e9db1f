package loadgen

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestRecordAllocatesNothing(t *testing.T) {
	r := newRecorder(seriesResponse, seriesService, seriesDelay)
	v := int64(1)
	if n := testing.AllocsPerRun(1000, func() {
		r.mu.Lock()
		for s := range seriesE2E {
			r.active.record(s, v)
		}
		r.mu.Unlock()
		v = v*3 + 1
		if v > 4*histHigh {
			v = 1
		}
	}); n != 0 {
		t.Fatalf("%v allocations per record", n)
	}
}

func TestGeneratorAllocatesNothing(t *testing.T) {
	p := benchProducer(t, Config{Rate: 1000, Workload: Workload{Keys: Keys{Kind: "hot"}}})
	for range 10_000 { // grow what grows once
		p.emit(p.free.pop(), 0, 1)
	}
	if n := testing.AllocsPerRun(5000, func() { p.emit(p.free.pop(), 0, 1) }); n > 0.01 {
		t.Fatalf("%v allocations per record", n)
	}
}

func TestOverflowIsCounted(t *testing.T) {
	r := newRecorder(seriesResponse)
	r.active.record(seriesResponse, histHigh+1)
	r.active.record(seriesResponse, -5)
	r.active.record(seriesResponse, histHigh)
	tl := newTally([]*recorder{r})
	if _, err := tl.collect(0, 1, false); err != nil {
		t.Fatal(err)
	}
	if tl.sum.overflow != 1 || tl.total[seriesResponse].TotalCount() != 3 {
		t.Fatalf("overflow %d, count %d; want 1 and 3", tl.sum.overflow, tl.total[seriesResponse].TotalCount())
	}
}

// TestMergeIsUnion: recorders written by several goroutines and collected in many epochs merge into the histogram of the union,
// and nothing is lost or counted twice in a swap.
func TestMergeIsUnion(t *testing.T) {
	const writers, each = 4, 50_000
	recs := []*recorder{newRecorder(seriesResponse), newRecorder(seriesResponse)} // two writers share one
	union := newHist()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			own := newHist()
			for range each {
				v := int64(rng.ExpFloat64() * 5e6)
				rec := recs[w%2]
				rec.mu.Lock()
				rec.active.record(seriesResponse, v)
				rec.active.acked++
				rec.mu.Unlock()
				_ = own.RecordValue(v)
			}
			mu.Lock()
			union.Merge(own)
			mu.Unlock()
		})
	}
	tl := newTally(recs)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if _, err := tl.collect(0, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if !tl.total[seriesResponse].Equals(union) {
		t.Fatalf("merged %d values, union %d", tl.total[seriesResponse].TotalCount(), union.TotalCount())
	}
	if tl.sum.acked != writers*each {
		t.Fatalf("counted %d, want %d", tl.sum.acked, writers*each)
	}
}
