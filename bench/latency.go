package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// latencies is what a latency.hlog holds, by tag.
type latencies struct {
	total map[string]*hdr.Histogram
	over  map[string][]moment // one per interval, in order
}

// moment is one interval of one series; times in seconds from the log's start.
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

// percentileChart plots the series over a log-percentile axis, where each decade
// is ten times rarer: 90 %, 99 %, 99.9 %.
func (l *latencies) percentileChart() *chart {
	decades, most := 1.0, int64(0)
	for _, h := range l.total {
		most = max(most, h.TotalCount())
	}
	for n := int64(10); n < most && decades < 6; n *= 10 {
		decades++
	}
	x := axis{from: 0, to: decades, at: frameLeft, end: frameRight}
	var ticks []tick
	for d := 0.0; d <= decades; d++ {
		ticks = append(ticks, tick{x.place(d), percentLabel(d)})
	}
	var curves []curve
	var words []string
	for _, tag := range []string{"response", "service", "delay", "e2e"} {
		h := l.total[tag]
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		// A percentile that less than one value lies above is only the maximum again.
		c := curve{Name: tag}
		for d := 0.0; d <= min(decades, math.Log10(float64(h.TotalCount()))); d += 0.05 {
			p := 100 * (1 - math.Pow(10, -d))
			c.Points = append(c.Points, xy{d, float64(h.ValueAtPercentile(p)) / 1e6})
		}
		curves = append(curves, c)
		words = append(words, fmt.Sprintf("%s: p50 %.2f ms, p90 %.2f, p99 %.2f, p99.9 %.2f, max %.2f of %d", tag,
			float64(h.ValueAtPercentile(50))/1e6, float64(h.ValueAtPercentile(90))/1e6, float64(h.ValueAtPercentile(99))/1e6,
			float64(h.ValueAtPercentile(99.9))/1e6, float64(h.Max())/1e6, h.TotalCount()))
	}
	c := plot("Latency by percentile", "percentile (each step is ten times rarer)", "ms", curves, x, ticks, true)
	if c != nil {
		c.Text = strings.Join(words, ". ") + "."
	}
	return c
}

func percentLabel(decade float64) string {
	switch decade {
	case 0:
		return "0 %"
	case 1:
		return "90 %"
	}
	return "99" + strings.TrimSuffix("."+strings.Repeat("9", int(decade)-2), ".") + " %"
}

// timeCharts plot the response over time and what was answered per second.
func (l *latencies) timeCharts() (latency, rate *chart) {
	ms := l.over["response"]
	if len(ms) == 0 {
		return nil, nil
	}
	x := axis{from: ms[0].from, to: ms[len(ms)-1].to, at: frameLeft, end: frameRight}
	p50, p99, top, answered := curve{Name: "p50"}, curve{Name: "p99"}, curve{Name: "max"}, curve{Name: "answered"}
	worst, slowest, fastest := 0.0, math.Inf(1), 0.0
	for _, m := range ms {
		mid := (m.from + m.to) / 2
		p50.Points = append(p50.Points, xy{mid, m.p50 / 1e6})
		p99.Points = append(p99.Points, xy{mid, m.p99 / 1e6})
		top.Points = append(top.Points, xy{mid, m.max / 1e6})
		worst = max(worst, m.max/1e6)
		if m.to-m.from > 0.5 { // a sliver of an interval has no rate worth drawing
			perSecond := float64(m.count) / (m.to - m.from)
			answered.Points = append(answered.Points, xy{mid, perSecond})
			slowest, fastest = min(slowest, perSecond), max(fastest, perSecond)
		}
	}
	latency = plot("Response over time", "seconds", "ms", []curve{p50, p99, top}, x, timeTicks(x), true)
	if latency != nil {
		latency.Text = fmt.Sprintf("%d intervals; the slowest record of all took %.2f ms.", len(ms), worst)
	}
	rate = plot("Answered records over time", "seconds", "records/s", []curve{answered}, x, timeTicks(x), false)
	if rate != nil {
		rate.Text = fmt.Sprintf("Between %.0f and %.0f records per second.", slowest, fastest)
	}
	return latency, rate
}
