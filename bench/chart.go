package bench

import (
	"fmt"
	"math"
	"strings"
)

// chart is one line plot in the pixels of its view box, ready for the template.
type chart struct {
	Title  string
	Text   string // the same in words, for those who cannot see it
	XLabel string
	YLabel string
	XTicks []tick
	YTicks []tick
	Lines  []line
	// The frame of the plot inside the view box.
	Left, Right, Top, Bottom float64
}

type tick struct {
	At    float64 // pixels
	Label string
}

type line struct {
	Name string
	Path string // SVG path data
	No   int    // which colour and dash, from 0
	LabX float64
	LabY float64
}

// curve is a line in the units of its axes. Its points are in order of X.
type curve struct {
	Name   string
	Points []xy
}

type xy struct{ X, Y float64 }

// The view box is chartWidth by chartHeight.
const (
	chartWidth  = 640
	chartHeight = 300
	frameLeft   = 62
	frameRight  = chartWidth - 78 // room for the names of the lines
	frameTop    = 12
	frameBottom = chartHeight - 44
)

// axis maps values to pixels.
type axis struct {
	from, to float64 // values at the two ends
	at, end  float64 // pixels
	log      bool
}

func (a axis) place(v float64) float64 {
	from, to := a.from, a.to
	if a.log {
		v, from, to = math.Log10(max(v, a.from)), math.Log10(from), math.Log10(to)
	}
	if to == from {
		return a.at
	}
	return a.at + (v-from)/(to-from)*(a.end-a.at)
}

// plot lays out curves; nil if there is nothing to draw. logY needs positive
// values: what is not is left out.
func plot(title, xLabel, yLabel string, curves []curve, x axis, xTicks []tick, logY bool) *chart {
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, p := range c.Points {
			if !logY || p.Y > 0 {
				low, high = min(low, p.Y), max(high, p.Y)
			}
		}
	}
	if math.IsInf(low, 1) {
		return nil
	}
	y := axis{at: frameBottom, end: frameTop, log: logY}
	y.from, y.to = 0, niceAbove(high)
	if logY {
		y.from, y.to = decadeBelow(low), decadeAbove(high)
	}
	c := &chart{Title: title, XLabel: xLabel, YLabel: yLabel, XTicks: xTicks, YTicks: yTicks(y),
		Left: frameLeft, Right: frameRight, Top: frameTop, Bottom: frameBottom}
	for i, cv := range curves {
		if l, ok := drawCurve(cv, i, x, y); ok {
			c.Lines = append(c.Lines, l)
		}
	}
	spreadLabels(c.Lines)
	return c
}

func drawCurve(cv curve, no int, x, y axis) (line, bool) {
	l := line{Name: cv.Name, No: no}
	var b strings.Builder
	verb := "M"
	for _, p := range cv.Points {
		if y.log && p.Y <= 0 {
			continue
		}
		l.LabX, l.LabY = x.place(p.X), y.place(p.Y)
		fmt.Fprintf(&b, "%s%.1f %.1f", verb, l.LabX, l.LabY)
		verb = "L"
	}
	l.Path = b.String()
	l.LabX += 5
	return l, l.Path != ""
}

// spreadLabels moves the names at the line ends apart, top to bottom.
func spreadLabels(lines []line) {
	const apart = 14
	for range lines {
		for i := range lines {
			for j := range lines {
				gap := lines[j].LabY - lines[i].LabY
				if i != j && math.Abs(gap) < apart && (gap > 0 || gap == 0 && j > i) {
					lines[j].LabY = lines[i].LabY + apart
				}
			}
		}
	}
}

func yTicks(y axis) []tick {
	var ticks []tick
	if y.log {
		for v := y.from; v <= y.to*1.001; v *= 10 {
			ticks = append(ticks, tick{y.place(v), shortNumber(v)})
		}
		return ticks
	}
	for i := range 5 {
		v := y.to * float64(i) / 4
		ticks = append(ticks, tick{y.place(v), shortNumber(v)})
	}
	return ticks
}

func decadeBelow(v float64) float64 { return math.Pow(10, math.Floor(math.Log10(v))) }

// decadeAbove is above v, so that no line runs along the frame.
func decadeAbove(v float64) float64 { return 10 * decadeBelow(v) }

// niceAbove is the next of 1, 2, 4, 5, 8 times a power of ten.
func niceAbove(v float64) float64 {
	if v <= 0 {
		return 1
	}
	d := decadeBelow(v)
	for _, m := range []float64{1, 2, 4, 5, 8, 10} {
		if m*d >= v {
			return m * d
		}
	}
	return 10 * d
}

// shortNumber writes 1500000 as 1.5M.
func shortNumber(v float64) string {
	switch {
	case v >= 1e6:
		return trimZeros(v/1e6) + "M"
	case v >= 1e3:
		return trimZeros(v/1e3) + "k"
	}
	return trimZeros(v)
}

func trimZeros(v float64) string { return fmt.Sprintf("%.3g", v) }

// timeTicks marks whole seconds on a time axis, at most eight of them.
func timeTicks(x axis) []tick {
	every := math.Max(1, math.Ceil((x.to-x.from)/8))
	var ticks []tick
	for s := math.Ceil(x.from); s <= x.to; s += every {
		ticks = append(ticks, tick{x.place(s), fmt.Sprintf("%.0f", s)})
	}
	return ticks
}
