package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"dyno/bench/draw"
	"dyno/bench/record"
	"dyno/bench/stats"
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
type path struct {
	name  string
	cells []scaled
}

// scaled is one cell: every good repetition's throughput, and medians of latency.
type scaled struct {
	producers float64
	each      []float64 // records/s
	p99       float64   // ms, 0 where it was not measured
}

func (c scaled) throughput() float64 { return stats.Median(c.each) }

// scalings collects the cells of a run that say which path they are and how many producers
// they had: one scaling for each load, in order of appearance, paths in order of appearance.
func scalings(run *record.Run) []scaling {
	var out []scaling
	for i := range run.Arms {
		arm := &run.Arms[i]
		n, err := strconv.Atoi(arm.Params[paramProducers])
		each := arm.Values("throughput")
		if err != nil || arm.Params[paramPath] == "" || len(each) == 0 || stats.Median(each) <= 0 {
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
		s.paths[line].cells = append(s.paths[line].cells, scaled{float64(n), each, median(run, arm.Name, "response_p99") / 1e6})
	}
	for _, s := range out {
		for _, p := range s.paths {
			slices.SortFunc(p.cells, func(a, b scaled) int { return cmp.Compare(a.producers, b.producers) })
		}
	}
	return out
}

// fitSeed is that of the fits' bootstrap: the same result always has the same fits.
const fitSeed = 1

// fits are the scalability laws of all paths that were measured with three numbers of
// producers or more.
func fits(run *record.Run) []record.Fit {
	var out []record.Fit
	for _, s := range scalings(run) {
		for _, p := range s.paths {
			var points []stats.USLPoint
			for _, c := range p.cells {
				for _, v := range c.each {
					if v > 0 { // a repetition without throughput has none to fit
						points = append(points, stats.USLPoint{N: c.producers, X: v})
					}
				}
			}
			u, err := stats.FitUSL(points, confidence, fitSeed)
			if err != nil { // ErrUSL: too few numbers of producers
				continue
			}
			f := record.Fit{Path: p.name, Where: s.where, Lambda: u.Lambda, Sigma: u.Sigma, Kappa: u.Kappa, Confidence: confidence, Peak: u.Peak,
				SigmaRange: known2(u.SigmaRange), KappaRange: known2(u.KappaRange)}
			for i, r := range u.Residuals {
				f.Residuals = append(f.Residuals, record.Residual{Producers: points[i].N, Value: r})
			}
			out = append(out, f)
		}
	}
	return out
}

// known2 is a range, or nil where it was too little measured to have one.
func known2(r [2]float64) *[2]float64 {
	if math.IsInf(r[1], 1) {
		return nil
	}
	return &r
}

// difference is a - b of two estimates that are independent, with its range where both
// have one. Under group commit contention also holds the sync that producers share, so
// the difference between paths is what counts, not the figure of one.
//
// Source: Zou and Donner, Construction of confidence limits about effect measures: a
// general approach, Statistics in Medicine 27, 2008 (MOVER): the range of a difference
// from the ranges of its two parts.
func difference(a, b float64, ra, rb *[2]float64) (d float64, r *[2]float64) {
	d = a - b
	if ra == nil || rb == nil {
		return d, nil
	}
	return d, &[2]float64{d - math.Hypot(a-ra[0], rb[1]-b), d + math.Hypot(ra[1]-a, b-rb[0])}
}

// writeFits prints the fits for people: a line for each path under each load.
func writeFits(w io.Writer, fits []record.Fit) {
	for _, f := range fits {
		fmt.Fprintf(w, "fit      %s, %s: sigma %s %%, kappa %s millionths\n", f.Path, f.Where, estimate(100, f.Sigma, f.SigmaRange), estimate(1e6, f.Kappa, f.KappaRange))
	}
}

// estimate writes a figure with its range, scaled.
func estimate(scale, v float64, r *[2]float64) string {
	if r == nil {
		return draw.Short(scale*v) + " (range unknown)"
	}
	return fmt.Sprintf("%s (%s to %s)", draw.Short(scale*v), draw.Short(scale*r[0]), draw.Short(scale*r[1]))
}
