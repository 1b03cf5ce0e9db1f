package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// latencies is what a latency.hlog holds, by tag.
type latencies struct {
	total map[string]*hdr.Histogram
	over  map[string][]moment // one per interval, in order
}

// moment is one interval of one series; times in seconds from the log's first interval.
type moment struct {
	from, to      float64
	count         int64
	p50, p99, max float64 // ns
}

// readLog reads a HdrHistogram log of ns; nil without an error where there is
// none, since experiments have no histograms.
func readLog(path string) (*latencies, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read latency log: %w", err)
	}
	defer f.Close()
	l := &latencies{total: map[string]*hdr.Histogram{}, over: map[string][]moment{}}
	reader := hdr.NewHistogramLogReader(f)
	start := int64(-1)
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			return nil, fmt.Errorf("read latency log: %w", err)
		}
		if h == nil { // the library's end of file
			return l, nil
		}
		if start < 0 {
			start = h.StartTimeMs()
		}
		if err := l.add(h, start); err != nil {
			return nil, err
		}
	}
}

func (l *latencies) add(h *hdr.Histogram, startMs int64) error {
	tag := h.Tag()
	total := l.total[tag]
	if total == nil {
		total = hdr.New(h.LowestTrackableValue(), h.HighestTrackableValue(), int(h.SignificantFigures()))
		l.total[tag] = total
	}
	if dropped := total.Merge(h); dropped > 0 {
		return fmt.Errorf("read latency log: %d values of %s do not fit its first interval's range", dropped, tag)
	}
	l.over[tag] = append(l.over[tag], moment{
		from: float64(h.StartTimeMs()-startMs) / 1e3, to: float64(h.EndTimeMs()-startMs) / 1e3,
		count: h.TotalCount(), p50: float64(h.ValueAtPercentile(50)), p99: float64(h.ValueAtPercentile(99)), max: float64(h.Max()),
	})
	return nil
}
