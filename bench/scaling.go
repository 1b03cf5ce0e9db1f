package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"dyno/bench/record"
)

// Parameters of arms that were measured with several numbers of producers.
const (
	paramPath      = "path"      // which produce path; the line of a plot
	paramProducers = "producers" // closed-loop clients
)

// scaling is how one set of produce paths behaves over the number of producers, all
// else the same.
type scaling struct {
	where string // what is the same
	paths []path
}

// path is one produce path with its cells in order of producers.
//
// This is where the Universal Scalability Law belongs (producers, throughput): the fit
// of a path reads nothing else. Under group commit contention also holds the sync that
// is shared, so the differences between paths are what counts.
type path struct {
	name  string
	cells []scaled
}

// scaled is one cell: medians of its good repetitions.
type scaled struct{ producers, throughput, p99 float64 }

// scalings collects the cells of a run that say how many producers they had: one
// scaling for each load, in order of appearance, paths in order of appearance.
func scalings(run *record.Run) []scaling {
	var out []scaling
	for i := range run.Arms {
		arm := &run.Arms[i]
		n, err := strconv.Atoi(arm.Params[paramProducers])
		throughput := median(run, arm.Name, "throughput")
		if err != nil || throughput == 0 {
			continue
		}
		where := fmt.Sprintf("%s node(s), %s B, %s partition(s)", arm.Params["nodes"], arm.Params["size"], arm.Params["partitions"])
		at := slices.IndexFunc(out, func(s scaling) bool { return s.where == where })
		if at < 0 {
			at, out = len(out), append(out, scaling{where: where})
		}
		s := &out[at]
		line := slices.IndexFunc(s.paths, func(p path) bool { return p.name == arm.Params[paramPath] })
		if line < 0 {
			line, s.paths = len(s.paths), append(s.paths, path{name: arm.Params[paramPath]})
		}
		s.paths[line].cells = append(s.paths[line].cells, scaled{float64(n), throughput, median(run, arm.Name, "response_p99") / 1e6})
	}
	for _, s := range out {
		for _, p := range s.paths {
			slices.SortFunc(p.cells, func(a, b scaled) int { return cmp.Compare(a.producers, b.producers) })
		}
	}
	return out
}

// scalingCharts plot throughput over producers, and p99 over throughput, of each load
// that was measured with more than one number of producers.
func scalingCharts(run *record.Run) []*chart {
	var out []*chart
	for _, s := range scalings(run) {
		var grow, price []curve
		most, fastest, slowest := 0.0, 0.0, math.Inf(1)
		for _, p := range s.paths {
			if len(p.cells) < 2 {
				continue
			}
			up, cost := curve{Name: p.name}, curve{Name: p.name}
			for _, c := range p.cells {
				up.Points = append(up.Points, xy{c.producers, c.throughput})
				cost.Points = append(cost.Points, xy{c.throughput, c.p99}) // in order of producers
				most, fastest, slowest = max(most, c.producers), max(fastest, c.throughput), min(slowest, c.throughput)
			}
			grow, price = append(grow, up), append(price, cost)
		}
		if len(grow) == 0 {
			continue
		}
		x := axis{from: 1, to: most, at: frameLeft, end: frameRight, log: true}
		up := plot("Throughput over producers: "+s.where, "producers", "records/s", grow, x, powerTicks(x, 4), true)
		x = axis{from: decadeBelow(slowest), to: decadeAbove(fastest), at: frameLeft, end: frameRight, log: true}
		cost := plot("p99 over throughput: "+s.where, "records/s", "ms", price, x, powerTicks(x, 10), true)
		for _, c := range []*chart{up, cost} {
			if c != nil {
				c.Text = fmt.Sprintf("Medians of %d paths; the points of a line follow its producers.", len(grow))
				out = append(out, c)
			}
		}
	}
	return out
}

// powerTicks marks the powers of base on a logarithmic axis.
func powerTicks(x axis, base float64) []tick {
	var ticks []tick
	for v := x.from; v <= x.to*1.001; v *= base {
		ticks = append(ticks, tick{x.place(v), shortNumber(v)})
	}
	return ticks
}
