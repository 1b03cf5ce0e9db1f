package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"dyno/bench/draw"
	"dyno/bench/record"
)

// loadSection shows one load in detail: its latencies by percentile and over time, and
// what was offered, sent and answered; and by percentile all repetitions of its suite.
// Empty where dir has no latency.hlog.
func loadSection(run *record.Run, dir string) (section, error) {
	s := section{ID: "load", Title: "One load in detail", Words: []string{
		"Response is answer less intended start, service is answer less actual send, delay is send less intended start.",
	}}
	log, err := readLog(filepath.Join(dir, "latency.hlog"))
	if err != nil || log == nil {
		return section{}, err
	}
	if f, ok := log.spectrum(); ok {
		s.Figures = append(s.Figures, f)
	}
	all, ok, err := pooledFigure(run, dir)
	if err != nil {
		return section{}, err
	}
	if ok {
		s.Figures = append(s.Figures, all)
	}
	seconds, err := readSeries(filepath.Join(dir, "series.jsonl"))
	if err != nil {
		return section{}, err
	}
	if f, ok := log.overTime(measuredFrom(seconds)); ok {
		s.Figures = append(s.Figures, f)
	}
	if len(seconds) == 0 {
		return s, nil
	}
	offered, err := readOffered(filepath.Join(dir, "detail.json"))
	if err != nil {
		return section{}, err
	}
	s.Figures = append(s.Figures, rateFigure(seconds, offered))
	if f, ok := backpressureFigure(seconds); ok {
		s.Figures = append(s.Figures, f)
	} else {
		s.Words = append(s.Words, "Backpressure: none. Whenever a record was due there was room to send it.")
	}
	return s, nil
}

// tags are the series of a latency log, in the order in which they are drawn.
var tags = []string{"response", "service", "delay", "e2e"}

// spectrum plots the series over a logarithmic axis of percentiles, where each decade
// is ten times rarer: 90 %, 99 %, 99.9 %.
func (l *latencies) spectrum() (draw.Figure, bool) {
	plot := draw.Plot{Title: "Latency by percentile", Data: draw.Table{Head: []string{"series", "p50, ms", "p90", "p99", "p99.9", "max", "records"}}}
	var ms span
	var words []string
	decades := 1.0
	for i, tag := range tags {
		h := l.total[tag]
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		end := lastDecade(h.TotalCount())
		decades = max(decades, math.Ceil(end))
		line, marks := draw.Series{Hue: i, Line: true}, draw.Series{Name: tag, Hue: i, Dots: true}
		for d := 0.0; d <= end; d += spectrumStep {
			v := percentile(h, d)
			ms.hold(max(v, spectrumLeast))
			line.Points = append(line.Points, draw.Point{X: d, Y: max(v, spectrumLeast)})
		}
		for d := 0.0; d <= end; d++ {
			marks.Points = append(marks.Points, draw.Point{X: d, Y: max(percentile(h, d), spectrumLeast)})
		}
		plot.Series = append(plot.Series, line, marks)
		row := []string{tag}
		for _, p := range []float64{50, 90, 99, 99.9, 100} {
			row = append(row, draw.Short(float64(h.ValueAtPercentile(p))/1e6))
		}
		plot.Data.Rows = append(plot.Data.Rows, append(row, fmt.Sprint(h.TotalCount())))
		words = append(words, fmt.Sprintf("%s: p50 %s ms, p99 %s ms, max %s ms", tag, row[1], row[3], row[5]))
	}
	if len(plot.Series) == 0 {
		return draw.Figure{}, false
	}
	plot.Text = strings.Join(words, ". ") + "."
	plot.X, plot.Y = percentileAxis(decades), draw.Log("ms", ms.low, ms.high)
	return plot.Figure(), true
}

const (
	// spectrumLeast is the least latency that is drawn, in ms. Delays of nothing lie
	// there, on an axis that has no zero.
	spectrumLeast = 1e-2
	// spectrumStep is how far two points of a line are apart, in decades.
	spectrumStep = 0.05
)

// lastDecade is where the percentiles of so many values end. One that less than one value
// lies above is only the maximum again.
func lastDecade(values int64) float64 { return min(6, math.Log10(float64(values))) }

// percentile is the value in ms that a share of 10^-decade lies above.
func percentile(h *hdr.Histogram, decade float64) float64 {
	return float64(h.ValueAtPercentile(100*(1-math.Pow(10, -decade)))) / 1e6
}

// percentileAxis has a tick for each decade.
func percentileAxis(decades float64) draw.Axis {
	a := draw.Axis{Label: "percentile; each step is ten times rarer", To: decades}
	for d := 0.0; d <= decades; d++ {
		a.Ticks = append(a.Ticks, draw.Tick{At: d, Label: percentLabel(d)})
	}
	return a
}

func percentLabel(decade float64) string {
	switch decade {
	case 0:
		return "0"
	case 1:
		return "90"
	}
	return "99" + strings.TrimSuffix("."+strings.Repeat("9", int(decade)-2), ".")
}

// overTime plots the response of each interval. begun is where the log begins on the
// axis, in seconds of the load.
func (l *latencies) overTime(begun float64) (draw.Figure, bool) {
	moments := l.over["response"]
	lines := []draw.Series{{Name: "p50", Hue: 0}, {Name: "p99", Hue: 1}, {Name: "max", Hue: 2}}
	var ms span
	for _, m := range moments {
		for i, v := range []float64{m.p50, m.p99, m.max} {
			if v > 0 {
				ms.hold(v / 1e6)
				lines[i].Points = append(lines[i].Points, draw.Point{X: begun + (m.from+m.to)/2, Y: v / 1e6})
			}
		}
	}
	if !ms.any {
		return draw.Figure{}, false
	}
	plot := draw.Plot{Title: "Response over time", X: draw.Linear("seconds", 0, begun+moments[len(moments)-1].to), Y: draw.Log("ms", ms.low, ms.high), Series: marked(lines),
		Text: fmt.Sprintf("%d intervals; the slowest record of all took %s ms.", len(moments), draw.Short(ms.high))}
	return plot.Figure(), true
}

// marksMost is how many points of a line have marks.
const marksMost = 60

// marked draws lines, with a mark at each point where there is room.
func marked(lines []draw.Series) []draw.Series {
	for i := range lines {
		lines[i].Line, lines[i].Dots = true, len(lines[i].Points) <= marksMost
	}
	return lines
}

// second is one line of series.jsonl, of what is drawn.
type second struct {
	StartNs      int64 `json:"start_ns"`
	EndNs        int64 `json:"end_ns"`
	Sent         int64 `json:"sent"`
	Acked        int64 `json:"acked"`
	Backpressure int64 `json:"backpressure"`
	// Response is there where the second is measured, and then stands in the latency log.
	Response *struct{} `json:"response_ns"`
}

func (s *second) long() float64 { return float64(s.EndNs-s.StartNs) / 1e9 }
func (s *second) middle() float64 {
	return float64(s.StartNs+s.EndNs) / 2e9
}

// measuredFrom is where the first measured second begins, in seconds of the load. The
// latency log begins with that second, and tells the load's own start in whole seconds only.
func measuredFrom(seconds []second) float64 {
	for i := range seconds {
		if seconds[i].Response != nil {
			return float64(seconds[i].StartNs) / 1e9
		}
	}
	return 0
}

// readSeries reads the seconds of a load; none where there is no file.
func readSeries(path string) ([]second, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	defer f.Close()
	var out []second
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var s second
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("read series: line %d: %w", len(out)+1, err)
		}
		out = append(out, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	return out, nil
}

// readOffered is the rate that an open loop was scheduled with; 0 where nothing was,
// or where the rate changed with time.
func readOffered(path string) (float64, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read detail: %w", err)
	}
	var d struct {
		Config struct {
			Mode    string  `json:"mode"`
			Rate    float64 `json:"rate"`
			Profile struct {
				Arrivals string `json:"arrivals"`
			} `json:"profile"`
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return 0, fmt.Errorf("read detail: %w", err)
	}
	if a := d.Config.Profile.Arrivals; d.Config.Mode != "open" || a != "uniform" && a != "poisson" {
		return 0, nil
	}
	return d.Config.Rate, nil
}

// sliverMax is the longest interval, in seconds, that has no rate worth drawing: the
// rest of a second at the end.
const sliverMax = 0.5

// rateFigure is what was offered, sent and answered in each second.
func rateFigure(seconds []second, offered float64) draw.Figure {
	end := float64(seconds[len(seconds)-1].EndNs) / 1e9
	sent, answered := draw.Series{Name: "sent", Hue: 2}, draw.Series{Name: "answered", Hue: 0}
	var rate span
	for i := range seconds {
		s := &seconds[i]
		if s.long() <= sliverMax {
			continue
		}
		for line, n := range map[*draw.Series]int64{&sent: s.Sent, &answered: s.Acked} {
			v := float64(n) / s.long()
			rate.hold(v)
			line.Points = append(line.Points, draw.Point{X: s.middle(), Y: v})
		}
	}
	plot := draw.Plot{Title: "Sent and answered over time", X: draw.Linear("seconds", 0, end), Series: marked([]draw.Series{sent, answered})}
	plot.Text = fmt.Sprintf("Between %s and %s records per second; the first %s s are warm-up.", draw.Short(rate.low), draw.Short(rate.high), draw.Short(measuredFrom(seconds)))
	if offered > 0 {
		rate.hold(offered)
		plot.Title = "Offered, sent and answered over time"
		plot.Text = fmt.Sprintf("Offered %s records per second throughout. ", draw.Short(offered)) + plot.Text
		plot.Rules = []draw.Rule{{At: offered, Label: "offered"}}
	}
	plot.Y = draw.Linear("records/s", 0, rate.high)
	return plot.Figure()
}

// backpressureFigure is how often in each second a record was due and there was no
// room to send it; none where that never happened.
func backpressureFigure(seconds []second) (draw.Figure, bool) {
	line := draw.Series{Name: "no room", Hue: 1}
	var held span
	total := int64(0)
	for i := range seconds {
		s := &seconds[i]
		total += s.Backpressure
		held.hold(float64(s.Backpressure))
		line.Points = append(line.Points, draw.Point{X: s.middle(), Y: float64(s.Backpressure)})
	}
	if total == 0 {
		return draw.Figure{}, false
	}
	plot := draw.Plot{Title: "Backpressure over time", Text: fmt.Sprintf("%d times in all a record was due and no buffer was free.", total),
		X: draw.Linear("seconds", 0, float64(seconds[len(seconds)-1].EndNs)/1e9), Y: draw.Linear("times", 0, held.high), Series: marked([]draw.Series{line})}
	return plot.Figure(), true
}
