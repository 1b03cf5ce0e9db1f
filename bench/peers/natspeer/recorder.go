package natspeer

import (
	"sync"
	"time"

	"dyno/loadgen"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms count ns between 1 us and 10 min with three digits, as dyno's do.
const (
	histLow    = 1_000
	histHigh   = 600_000_000_000
	histDigits = 3
)

func newHist() *hdr.Histogram { return hdr.New(histLow, histHigh, histDigits) }

// recordersMax is how many recorders a run has at most; publishers share them.
const recordersMax = 8

// counts of one recorder, or their sum.
type counts struct {
	acked    int64
	inWindow int64 // acknowledged after the timed window began
	timed    int64 // acknowledged, and due in the timed window
	failed   int64
	unknown  int64
	censored int64
}

func (c *counts) add(o *counts) {
	c.acked += o.acked
	c.inWindow += o.inWindow
	c.timed += o.timed
	c.failed += o.failed
	c.unknown += o.unknown
	c.censored += o.censored
}

// epoch is what a recorder gathers between two swaps. service and delay exist
// only where there is a schedule.
type epoch struct {
	counts
	response, service, delay *hdr.Histogram
}

func newEpoch(scheduled bool) *epoch {
	e := &epoch{response: newHist()}
	if scheduled {
		e.service, e.delay = newHist(), newHist()
	}
	return e
}

func (e *epoch) reset() {
	e.counts = counts{}
	for _, h := range []*hdr.Histogram{e.response, e.service, e.delay} {
		if h != nil {
			h.Reset()
		}
	}
}

// record counts ns; nothing is ever outside a histogram's range.
func record(h *hdr.Histogram, ns int64) {
	if err := h.RecordValue(min(max(ns, 0), histHigh)); err != nil {
		panic("BUG: " + err.Error())
	}
}

// recorder owns two epochs: answers write into the active one under mu, the
// collector swaps them once a second and then reads the idle one alone.
type recorder struct {
	mu     sync.Mutex
	active *epoch // guarded by mu
	last   int64  // guarded by mu; ns of the last acknowledgement
	idle   *epoch // owner: collector, between swaps
}

func newRecorder(scheduled bool) *recorder {
	return &recorder{active: newEpoch(scheduled), idle: newEpoch(scheduled)}
}

// swap ends the epoch and returns it, valid until the next swap.
func (r *recorder) swap() *epoch {
	r.idle.reset()
	r.mu.Lock()
	r.active, r.idle = r.idle, r.active
	r.mu.Unlock()
	return r.idle
}

// tally sums the epochs of a run. Owner: the collector.
type tally struct {
	recorders []*recorder
	total     *epoch
	second    *hdr.Histogram // response of the last second
}

func newTally(recorders []*recorder, scheduled bool) *tally {
	return &tally{recorders: recorders, total: newEpoch(scheduled), second: newHist()}
}

// collect takes everything since the collect before and returns its counts.
func (t *tally) collect() (sum counts) {
	t.second.Reset()
	for _, r := range t.recorders {
		e := r.swap()
		sum.add(&e.counts)
		t.second.Merge(e.response)
		if e.service != nil {
			t.total.service.Merge(e.service)
			t.total.delay.Merge(e.delay)
		}
	}
	t.total.response.Merge(t.second)
	t.total.add(&sum)
	return sum
}

// lastAnswer is when the last message was acknowledged, 0 if none was.
func (t *tally) lastAnswer() (last time.Duration) {
	for _, r := range t.recorders {
		r.mu.Lock()
		last = max(last, time.Duration(r.last))
		r.mu.Unlock()
	}
	return last
}

func quantiles(h *hdr.Histogram) *loadgen.Quantiles {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	v := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return &loadgen.Quantiles{P50: v[0], P90: v[1], P99: v[2], P999: v[3], Max: h.Max()}
}
