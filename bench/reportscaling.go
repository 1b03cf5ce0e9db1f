package bench

import (
	"fmt"
	"math"
	"slices"

	"dyno/bench/draw"
	"dyno/bench/record"
)

// scalingSection plots throughput over producers with the fit of each path, and what
// the fits say.
func (p *page) scalingSection() section {
	s := section{ID: "scaling", Title: "Throughput over producers", Words: []string{
		"The curves are the Universal Scalability Law, X(N) = λN / (1 + σ(N−1) + κN(N−1)), fitted to every repetition: σ is contention, what is done one after the other; κ is coherence, what every pair costs. " +
			"Under group commit σ also holds the sync that producers share, so read the differences between paths.",
	}}
	all := p.Run.Verdict.Fits
	if len(all) == 0 {
		all = fits(p.Run) // a result from before fits were recorded
	}
	for _, sc := range scalings(p.Run) {
		if !slices.ContainsFunc(sc.paths, func(p path) bool { return len(p.cells) > 1 }) {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(all), func(f record.Fit) bool { return f.Where != sc.where })
		s.Figures = append(s.Figures, p.growth(sc, own))
		if len(own) > 0 {
			s.Figures = append(s.Figures, p.residuals(sc, own))
			s.Tables = append(s.Tables, fitTable(sc.where, own))
		}
	}
	if len(s.Figures) == 0 {
		return section{}
	}
	if len(s.Figures) > foldedBlocks {
		s.Folds = []fold{{Title: "Other loads", Figures: s.Figures[2:], Tables: s.Tables[min(1, len(s.Tables)):]}}
		s.Figures, s.Tables = s.Figures[:2], s.Tables[:min(1, len(s.Tables))]
	}
	return s
}

// growth is every repetition's throughput over producers, with the fitted curves.
func (p *page) growth(sc scaling, fits []record.Fit) draw.Figure {
	plot := draw.Plot{Title: "Throughput over producers: " + sc.where, Text: "One mark for each good repetition; a curve is the fitted law of its path."}
	var n, x span
	for _, path := range sc.paths {
		marks := draw.Series{Name: path.name, Hue: p.hue(path.name), Dots: true}
		for _, c := range path.cells {
			n.hold(c.producers)
			for _, v := range c.each {
				if v > 0 {
					x.hold(v)
					marks.Points = append(marks.Points, draw.Point{X: c.producers, Y: v})
				}
			}
		}
		plot.Series = append(plot.Series, marks)
	}
	for i := range fits {
		line := draw.Series{Hue: p.hue(fits[i].Path), Line: true}
		const steps = 40
		for k := range steps + 1 {
			at := n.low * math.Pow(n.high/n.low, float64(k)/steps)
			v := fitted(&fits[i], at)
			x.hold(v)
			line.Points = append(line.Points, draw.Point{X: at, Y: v})
		}
		plot.Series = append(plot.Series, line)
	}
	plot.X, plot.Y = draw.Powers("producers", n.low, n.high, 4), draw.Log("records/s", x.low, x.high)
	return plot.Figure()
}

// fitted is the law at n producers.
func fitted(f *record.Fit, n float64) float64 {
	return f.Lambda * n / (1 + f.Sigma*(n-1) + f.Kappa*n*(n-1))
}

// residuals plots how far the repetitions are from the fits: a pattern says that the
// law does not describe the path.
func (p *page) residuals(sc scaling, fits []record.Fit) draw.Figure {
	plot := draw.Plot{Title: "Residuals of the fits: " + sc.where, Rules: []draw.Rule{{At: 0}},
		Text: "By how many percent a repetition was above the fitted law, the paths side by side. A pattern instead of a scatter says that the law does not describe the path, whatever its intervals say."}
	var n, off span
	off.hold(0)
	const apart = 1.07 // of two paths under the same load
	for i, f := range fits {
		marks := draw.Series{Name: f.Path, Hue: p.hue(f.Path), Dots: true}
		beside := math.Pow(apart, float64(i)-float64(len(fits)-1)/2)
		for _, r := range f.Residuals {
			n.hold(r.Producers)
			off.hold(100 * r.Value)
			marks.Points = append(marks.Points, draw.Point{X: beside * r.Producers, Y: 100 * r.Value})
			plot.Data.Rows = append(plot.Data.Rows, []string{f.Path, draw.Short(r.Producers), fmt.Sprintf("%+.1f", 100*r.Value)})
		}
		plot.Series = append(plot.Series, marks)
	}
	plot.Data.Head = []string{"path", "producers", "% above the fit"}
	plot.X, plot.Y = draw.Powers("producers", n.low, n.high, 4), draw.Linear("% above the fit", off.low, off.high)
	return plot.Figure()
}

// fitTable is the fits of one load in figures, and how they differ from the first.
func fitTable(where string, fits []record.Fit) draw.Table {
	first := fits[0].Path
	t := draw.Table{Title: fmt.Sprintf("Fits, %s: intervals of %.0f %%", where, 100*fits[0].Confidence),
		Head: []string{"path", "λ, records/s", "σ, %", "κ, millionths", "σ less " + first + "'s", "κ less " + first + "'s", "best at", "worst residual"}}
	for _, f := range fits {
		row := []string{f.Path, draw.Short(f.Lambda), estimate(100, f.Sigma, f.SigmaRange), estimate(1e6, f.Kappa, f.KappaRange), "-", "-", "not shown", ""}
		if f.Path != first {
			sigma, in := difference(f.Sigma, fits[0].Sigma, f.SigmaRange, fits[0].SigmaRange)
			row[4] = estimate(100, sigma, in)
			kappa, in := difference(f.Kappa, fits[0].Kappa, f.KappaRange, fits[0].KappaRange)
			row[5] = estimate(1e6, kappa, in)
		}
		if f.Peak > 0 {
			row[6] = draw.Short(f.Peak) + " producers"
		}
		worst := 0.0
		for _, r := range f.Residuals {
			if math.Abs(r.Value) > math.Abs(worst) {
				worst = r.Value
			}
		}
		row[7] = fmt.Sprintf("%+.0f %%", 100*worst)
		t.Rows = append(t.Rows, row)
	}
	return t
}
