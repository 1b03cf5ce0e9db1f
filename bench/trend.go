package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"dyno/bench/draw"
	"dyno/bench/stats"
)

// trendSeed is of the shuffles by which changes are found: the same history always
// shows the same ones.
const trendSeed = 1

// HistoryPage is the name of the drawn history, beside HistoryFile.
const HistoryPage = "history.html"

// Trend is one metric of one lane over all commits that were compared with one
// reference. Another reference begins a new one.
type Trend struct {
	Lane, Reference, Metric string
	Commits                 []string
	Ratios                  []float64
	Changes                 []stats.Change
}

// Trends sorts a history into series, in the order in which they begin, and finds
// where each moved to another level.
func Trends(lines []HistoryLine) (trends []*Trend) {
	for _, l := range lines {
		var names []string
		for name := range l.Ratios {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			at := slices.IndexFunc(trends, func(t *Trend) bool { return t.Lane == l.Lane && t.Reference == l.Reference && t.Metric == name })
			if at < 0 {
				at, trends = len(trends), append(trends, &Trend{Lane: l.Lane, Reference: l.Reference, Metric: name})
			}
			t := trends[at]
			t.Commits, t.Ratios = append(t.Commits, l.Commit), append(t.Ratios, l.Ratios[name])
		}
	}
	for _, t := range trends {
		t.Changes = stats.Changes(t.Ratios, trendSeed)
	}
	return trends
}

// WriteTrends prints a history: each series' latest ratio, and where it changed.
func WriteTrends(w io.Writer, trends []*Trend) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "lane\tmetric\treference\tcommits\tlatest\tchanged")
	for _, s := range trends {
		last := len(s.Ratios) - 1
		fmt.Fprintf(t, "%s\t%s\t%.10s\t%d\t%.3f\t", s.Lane, s.Metric, s.Reference, last+1, s.Ratios[last])
		if len(s.Changes) == 0 {
			fmt.Fprint(t, "-")
		}
		for i, c := range s.Changes {
			if i > 0 {
				fmt.Fprint(t, "; ")
			}
			fmt.Fprintf(t, "%+.1f %% at %.10s (p %.2g)", 100*c.Size(), s.Commits[c.At], c.P)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "ratios to the reference, measured at the same time; above 1 is worse. A change needs p 0.001, 2 % and five commits on either side.")
	return err
}

//go:embed history.html.tmpl
var trendText string

var trendTemplate = template.Must(template.Must(reportTemplate.Clone()).New("history").Parse(trendText))

// WriteHistoryPage draws the trends below root into a page that needs nothing else, and
// returns its path.
func WriteHistoryPage(root string, trends []*Trend) (string, error) {
	path := filepath.Join(root, HistoryPage)
	if err := replaceFile(path, func(w io.Writer) error { return trendTemplate.Execute(w, figuresOf(trends)) }); err != nil {
		return "", fmt.Errorf("draw the history: %w", err)
	}
	return path, nil
}

func figuresOf(trends []*Trend) (figures []draw.Figure) {
	for _, t := range trends {
		figures = append(figures, t.figure())
	}
	return figures
}

// figure draws the ratios and, as a second line, the level between changes.
func (t *Trend) figure() draw.Figure {
	n := len(t.Ratios)
	plot := draw.Plot{
		Title: fmt.Sprintf("%s, lane %s, against %.10s", t.Metric, t.Lane, t.Reference),
		Text:  fmt.Sprintf("%d commits, the latest at %.3f, %d changes.", n, t.Ratios[n-1], len(t.Changes)),
		X:     draw.Axis{Label: "commits, the oldest first", From: 0, To: float64(max(1, n-1))},
		Y:     draw.Linear("ratio", min(1, slices.Min(t.Ratios)), max(1, slices.Max(t.Ratios))),
		Rules: []draw.Rule{{At: 1, Label: "the reference"}},
		Data:  draw.Table{Title: t.Metric, Head: []string{"commit", "ratio"}},
	}
	every := max(1, int(math.Ceil(float64(n)/5)))
	ratios := draw.Series{Name: "ratio", Hue: 0, Line: true, Dots: true}
	for i, r := range t.Ratios {
		ratios.Points = append(ratios.Points, draw.Point{X: float64(i), Y: r})
		plot.Data.Rows = append(plot.Data.Rows, []string{fmt.Sprintf("%.10s", t.Commits[i]), fmt.Sprintf("%.3f", r)})
		if i%every == 0 {
			plot.X.Ticks = append(plot.X.Ticks, draw.Tick{At: float64(i), Label: fmt.Sprintf("%.7s", t.Commits[i])})
		}
	}
	plot.Series = []draw.Series{ratios, {Name: "level", Hue: 1, Line: true, Points: t.levels()}}
	return plot.Figure()
}

// levels are the medians between changes, as steps.
func (t *Trend) levels() (points []draw.Point) {
	from := 0
	for i := 0; i <= len(t.Changes); i++ {
		to := len(t.Ratios)
		if i < len(t.Changes) {
			to = t.Changes[i].At
		}
		level := stats.Median(t.Ratios[from:to])
		points = append(points, draw.Point{X: float64(from), Y: level}, draw.Point{X: float64(to - 1), Y: level})
		from = to
	}
	return points
}
