package bench

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sort"

	"dyno/bench/draw"
	"dyno/bench/record"
	"dyno/bench/stats"
)

const (
	pooledConfidence = 0.95
	pooledLeast      = 3    // repetitions that have an interval
	pooledBand       = 0.25 // how far two points of the band are apart, in decades
	pooledSeed       = 1    // the same file draws the same report
)

// pooledFigure plots the response of all good repetitions of each arm of the suite as
// one, with the interval of each percentile when whole repetitions are drawn again: how
// much of a tail one run may have by chance. Other results, and those of fewer
// repetitions, have none.
func pooledFigure(run *record.Run, dir string) (draw.Figure, bool, error) {
	plot := draw.Plot{Title: "Response by percentile, all repetitions as one",
		Data: draw.Table{Head: []string{"arm", "repetitions", "p50, ms", "p90", "p99", "p99.9"}}}
	var ms span
	decades := 1.0
	for hue, name := range []string{armHalf, armSaturate} {
		p, err := readPool(dir, run.Arm(name))
		if err != nil {
			return draw.Figure{}, false, err
		}
		if len(p.runs) < pooledLeast {
			continue
		}
		end := lastDecade(p.records())
		decades = max(decades, math.Ceil(end))
		line, marks := draw.Series{Hue: hue, Line: true}, draw.Series{Name: name, Hue: hue, Dots: true}
		for d := 0.0; d <= end; d += spectrumStep {
			v := p.at(p.runs, d)
			ms.hold(v)
			line.Points = append(line.Points, draw.Point{X: d, Y: v})
		}
		for d := 0.0; d <= end; d += pooledBand {
			low, high := p.interval(d)
			ms.hold(low)
			ms.hold(high)
			line.Band = append(line.Band, draw.Span{X: d, Low: low, High: high})
		}
		for d := 0.0; d <= end; d++ {
			marks.Points = append(marks.Points, draw.Point{X: d, Y: p.at(p.runs, d)})
		}
		plot.Series = append(plot.Series, line, marks)
		plot.Data.Rows = append(plot.Data.Rows, p.row(name))
	}
	if len(plot.Series) == 0 {
		return draw.Figure{}, false, nil
	}
	plot.Text = "The band is the 95 % bootstrap interval over whole repetitions; with few of them it is too narrow."
	plot.X, plot.Y = percentileAxis(decades), draw.Log("ms", ms.low, ms.high)
	return plot.Figure(), true, nil
}

// pool is the responses of some runs.
type pool struct {
	bounds []int64 // upper ends in ns of all buckets that hold a record of any run, rising
	runs   []ranks
}

// ranks is how many records of a run lie at or below each bound of its pool.
type ranks []int64

// readPool reads the response of an arm's good repetitions; an empty one where the arm
// or its logs are missing.
func readPool(dir string, arm *record.Arm) (*pool, error) {
	p := new(pool)
	if arm == nil {
		return p, nil
	}
	var counts []map[int64]int64 // by bound, of each run
	for _, rep := range arm.Repetitions {
		if rep.Status != record.OK {
			continue
		}
		log, err := readLog(filepath.Join(step{arm: arm.Name, number: rep.Number}.dir(filepath.Join(dir, repsDir)), "latency.hlog"))
		if err != nil {
			return nil, err
		}
		if log == nil || log.total["response"] == nil || log.total["response"].TotalCount() == 0 {
			continue
		}
		run := map[int64]int64{}
		for _, bar := range log.total["response"].Distribution() {
			if bar.Count > 0 {
				run[bar.To] += bar.Count
				p.bounds = append(p.bounds, bar.To)
			}
		}
		counts = append(counts, run)
	}
	slices.Sort(p.bounds)
	p.bounds = slices.Compact(p.bounds)
	for _, run := range counts {
		below, sum := make(ranks, len(p.bounds)), int64(0)
		for i, bound := range p.bounds {
			sum += run[bound]
			below[i] = sum
		}
		p.runs = append(p.runs, below)
	}
	return p, nil
}

// records is how many all runs have.
func (p *pool) records() (n int64) {
	for _, run := range p.runs {
		n += run[len(run)-1]
	}
	return n
}

// at is the value in ms that a share of 10^-decade of all records of runs lies above.
func (p *pool) at(runs []ranks, decade float64) float64 {
	atOrBelow := func(i int) (n int64) {
		for _, run := range runs {
			n += run[i]
		}
		return n
	}
	last := len(p.bounds) - 1
	want := max(1, int64(math.Round((1-math.Pow(10, -decade))*float64(atOrBelow(last)))))
	i := sort.Search(last, func(i int) bool { return atOrBelow(i) >= want })
	return max(float64(p.bounds[i])/1e6, spectrumLeast)
}

func (p *pool) interval(decade float64) (low, high float64) {
	return stats.Bootstrap(p.runs, func(runs []ranks) float64 { return p.at(runs, decade) }, pooledConfidence, pooledSeed)
}

// row is the pool in a table.
func (p *pool) row(name string) []string {
	row := []string{name, fmt.Sprint(len(p.runs))}
	for _, decade := range []float64{math.Log10(2), 1, 2, 3} {
		low, high := p.interval(decade)
		row = append(row, fmt.Sprintf("%s (%s to %s)", draw.Short(p.at(p.runs, decade)), draw.Short(low), draw.Short(high)))
	}
	return row
}
