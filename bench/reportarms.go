package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dyno/bench/draw"
	"dyno/bench/record"
	"dyno/bench/stats"
)

// block is the arms of a run that were compared with each other.
type block struct {
	name, family string
	arms         []*record.Arm
}

// blocksOf groups the arms of a run, in order of appearance.
func blocksOf(run *record.Run) []block {
	var out []block
	for i := range run.Arms {
		arm := &run.Arms[i]
		name := arm.Params[paramBlock]
		at := slices.IndexFunc(out, func(b block) bool { return b.name == name })
		if at < 0 {
			family, _, _ := strings.Cut(arm.Name, "/")
			at, out = len(out), append(out, block{name: name, family: family})
		}
		out[at].arms = append(out[at].arms, arm)
	}
	return out
}

func (b *block) has(measure string) bool {
	return slices.ContainsFunc(b.arms, func(a *record.Arm) bool { return len(a.Values(measure)) > 0 })
}

// short is an arm's name within its block: without the family, where all arms there are
// of one.
func (b *block) short(arm *record.Arm) string {
	if arm.Params[paramPath] != "" {
		return arm.Params[paramPath]
	}
	if slices.ContainsFunc(b.arms, func(a *record.Arm) bool { return !strings.HasPrefix(a.Name, b.family+"/") }) {
		return armTitle(arm.Name)
	}
	return armTitle(strings.TrimPrefix(arm.Name, b.family+"/"))
}

// foldedBlocks is from how many blocks on only those of the first family are open.
const foldedBlocks = 6

// armsSection shows every repetition of every arm, arms of a block on one axis.
func (p *page) armsSection() section {
	s := section{ID: "arms", Title: "Arms compared",
		Words: []string{"Each ring is one repetition, the diamond their median, the bar its interval of order statistics: three repetitions cover the true median with 75 %, six with 97 %."}}
	blocks := blocksOf(p.Run)
	for i := range blocks {
		b := &blocks[i]
		figures := p.strips(b, len(blocks) < foldedBlocks)
		switch {
		case len(figures) == 0:
		case len(blocks) < foldedBlocks || b.family == blocks[0].family && len(s.Figures) < foldedBlocks:
			s.Figures = append(s.Figures, figures...)
		case len(s.Folds) > 0 && s.Folds[len(s.Folds)-1].Title == b.family:
			last := &s.Folds[len(s.Folds)-1]
			last.Figures = append(last.Figures, figures...)
		default:
			s.Folds = append(s.Folds, fold{Title: b.family, Figures: figures})
		}
	}
	return s
}

// strips draws a block: the first quantity that it has, and its p99 where there is
// room.
func (p *page) strips(b *block, latency bool) []draw.Figure {
	var out []draw.Figure
	for _, u := range shownUnits(p.Run) {
		if !b.has(u.Name) || len(out) > 0 && u.Name != "response_p99" {
			continue
		}
		out = append(out, p.strip(b, u))
		if !latency {
			break
		}
	}
	return out
}

func (p *page) strip(b *block, u record.Unit) draw.Figure {
	title := strings.TrimPrefix(b.name+": "+columnName(u), ": ")
	st := draw.Strip{Title: title}
	low, high := math.Inf(1), 0.0
	var words []string
	for i, arm := range b.arms {
		vs := arm.Values(u.Name)
		for k := range vs {
			vs[k] *= scaleOf(u)
			low, high = min(low, vs[k]), max(high, vs[k])
		}
		if len(vs) == 0 {
			continue
		}
		iv := stats.MedianInterval(vs, confidence)
		r := draw.Row{Name: b.short(arm), Hue: p.armHue(arm, i), Dots: vs, Low: iv.Low, Mid: stats.Median(vs), High: iv.High}
		r.Note = spanText(r, len(vs))
		words = append(words, r.Name+" "+r.Note)
		st.Rows = append(st.Rows, r)
	}
	st.Text = strings.Join(words, "; ") + "."
	st.X = valueAxis(columnName(u), low, high)
	return st.Figure()
}

// armHue is the colour of a path wherever it is drawn; of an arm that is none, its
// place in its block.
func (p *page) armHue(arm *record.Arm, place int) int {
	if path := arm.Params[paramPath]; path != "" {
		return p.hue(path)
	}
	return place
}

// manyTimes is from which ratio on values stand on a logarithmic axis.
const manyTimes = 30

// valueAxis holds values that are not negative.
func valueAxis(label string, low, high float64) draw.Axis {
	if low > 0 && high/low > manyTimes {
		return draw.Log(label, low, high)
	}
	return draw.Linear(label, 0, high)
}

// spanText is a row in figures.
func spanText(r draw.Row, n int) string {
	if n == 1 {
		return draw.Short(r.Mid)
	}
	return fmt.Sprintf("%s (%s to %s)", draw.Short(r.Mid), draw.Short(r.Low), draw.Short(r.High))
}

// latencySection plots p99 over throughput: a line a path where there are numbers of
// producers, else the repetitions of each block.
func (p *page) latencySection() section {
	s := section{ID: "price", Title: "p99 against throughput"}
	for _, sc := range scalings(p.Run) {
		if f, ok := p.price(sc); ok {
			s.Figures = append(s.Figures, f)
		}
	}
	if len(s.Figures) == 0 {
		s.Figures = p.blockPrices()
	}
	if len(s.Figures) > foldedBlocks {
		s.Folds = []fold{{Title: "Other loads", Figures: s.Figures[2:]}}
		s.Figures = s.Figures[:2]
	}
	return s
}

// price is one line a path, along its numbers of producers.
func (p *page) price(sc scaling) (draw.Figure, bool) {
	plot := draw.Plot{Title: "p99 against throughput: " + sc.where, Text: "Medians; each line follows its number of producers, so a line that turns back or stands upright has passed its best load."}
	var at, cost span
	longest := 0
	for _, path := range sc.paths {
		line := draw.Series{Name: path.name, Hue: p.hue(path.name), Line: true, Dots: true}
		for _, c := range path.cells {
			if c.p99 > 0 {
				line.Points = append(line.Points, draw.Point{X: c.throughput(), Y: c.p99})
				at.hold(c.throughput())
				cost.hold(c.p99)
				plot.Data.Rows = append(plot.Data.Rows, []string{path.name, draw.Short(c.producers), draw.Short(c.throughput()), draw.Short(c.p99)})
			}
		}
		longest = max(longest, len(line.Points))
		if len(line.Points) > 0 {
			plot.Series = append(plot.Series, line)
		}
	}
	if longest < 2 { // one number of producers makes no line
		return draw.Figure{}, false
	}
	plot.Data.Head = []string{"path", "producers", "records/s", "p99, ms"}
	plot.X, plot.Y = draw.Log("records/s", at.low, at.high), draw.Log("ms", cost.low, cost.high)
	return plot.Figure(), true
}

// blockPrices is one mark a repetition, for arms that have no number of producers.
func (p *page) blockPrices() []draw.Figure {
	var out []draw.Figure
	for _, b := range blocksOf(p.Run) {
		plot := draw.Plot{Title: strings.TrimPrefix(b.name+": p99 against throughput", ": "), Text: "One mark for each good repetition: to the right is more, below is sooner."}
		var at, cost span
		for i, arm := range b.arms {
			line := draw.Series{Name: b.short(arm), Hue: p.armHue(arm, i), Dots: true}
			for _, rep := range arm.Repetitions {
				x, y := rep.Values["throughput"], rep.Values["response_p99"]/1e6
				if rep.Status == record.OK && x > 0 && y > 0 {
					line.Points = append(line.Points, draw.Point{X: x, Y: y})
					at.hold(x)
					cost.hold(y)
					plot.Data.Rows = append(plot.Data.Rows, []string{line.Name, fmt.Sprint(rep.Number), draw.Short(x), draw.Short(y)})
				}
			}
			if len(line.Points) > 0 {
				plot.Series = append(plot.Series, line)
			}
		}
		if len(plot.Series) < 2 {
			continue
		}
		plot.Data.Head = []string{"arm", "repetition", "records/s", "p99, ms"}
		plot.X, plot.Y = valueAxis("records/s", at.low, at.high), valueAxis("ms", cost.low, cost.high)
		out = append(out, plot.Figure())
	}
	return out
}

// span is the range of what it held; empty until then.
type span struct {
	low, high float64
	any       bool
}

func (s *span) hold(v float64) {
	if !s.any {
		s.low, s.high, s.any = v, v, true
	}
	s.low, s.high = min(s.low, v), max(s.high, v)
}

// factorSection is the ladder of factors, beside what the origin said.
func factorSection(run *record.Run) section {
	s := section{ID: "factors", Title: "Factors"}
	if len(run.Verdict.Factors) == 0 {
		return s
	}
	st := draw.Strip{Title: "How many times as much", Rules: []draw.Rule{{At: 1, Label: "no change"}}}
	var held span
	held.hold(1)
	var words []string
	for i := range run.Verdict.Factors {
		f := &run.Verdict.Factors[i]
		r := draw.Row{Name: f.Name, Low: f.Low, Mid: f.Ratio, High: f.High, Wanted: f.Claimed,
			Dots: stats.Ratios(pairs(run.Arm(f.Arm), run.Arm(f.Against), f.Measure))}
		r.Note = fmt.Sprintf("%s (%s to %s)", times(f.Ratio), times(f.Low), times(f.High))
		for _, v := range append([]float64{f.Low, f.High}, r.Dots...) {
			if v > 0 {
				held.hold(v)
			}
		}
		if f.Claimed > 0 {
			held.hold(f.Claimed)
			st.Wanted = "what the origin claimed"
		}
		st.Rows = append(st.Rows, r)
		words = append(words, f.Name+": "+factorText(f))
	}
	st.Text = strings.Join(words, ". ") + "."
	st.X = draw.Log("times", held.low, held.high)
	f := st.Figure()
	f.Data.Head = append(f.Data.Head, "origin's claim")
	for i := range f.Data.Rows {
		claim := "-"
		if c := run.Verdict.Factors[i].Claimed; c > 0 {
			claim = times(c)
		}
		f.Data.Rows[i] = append(f.Data.Rows[i], claim)
	}
	s.Words = []string{"Each ring is the ratio of two repetitions that ran next to each other, the diamond their median. Factors multiply, so the axis is logarithmic."}
	s.Figures = []draw.Figure{f}
	return s
}
