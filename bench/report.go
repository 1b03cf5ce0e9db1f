package bench

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dyno/bench/draw"
	"dyno/bench/record"
	"dyno/bench/stats"
)

//go:embed report.html.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// page is what the template draws.
type page struct {
	Run      *record.Run
	Verdict  string
	Class    string
	Targets  []targetRow
	Problems []string
	Repeat   []string // commands
	Sections []section
	Config   [][2]string
	Facts    [][2]string // environment

	hues map[string]int // a path has one colour in every chart
}

// section is one part of a report: words, charts, tables, and more of the same that is
// folded away.
type section struct {
	ID, Title string
	Words     []string
	Figures   []draw.Figure
	Tables    []draw.Table
	Folds     []fold
}

type fold struct {
	Title   string
	Figures []draw.Figure
	Tables  []draw.Table
}

func (s *section) empty() bool { return len(s.Figures)+len(s.Tables)+len(s.Folds) == 0 }

type targetRow struct {
	Name, Want, Found, Range, Result string
	Plot                             template.HTML
}

// WriteReport draws report.html of the result in dir from its other files, and from
// the profiles of the same id where there are any, and returns its path. The file is
// whole by itself: no network, no script. It may be drawn again at any time. Errors:
// record.ErrNotResult, ErrSchema, ErrInvalid.
func WriteReport(dir string) (string, error) { return WriteReportAgainst(dir, "") }

// WriteReportAgainst is WriteReport with what differs from the result in other: the
// environment, the configuration, and where both have a CPU profile what a record
// costs in which function. The comparison of two commits is `dyno compare`; this only
// shows where to look. With other "" it is WriteReport.
func WriteReportAgainst(dir, other string) (string, error) {
	run, err := record.Open(dir)
	if err != nil {
		return "", err
	}
	p, err := newPage(run, dir)
	if err == nil && other != "" {
		err = p.against(dir, other)
	}
	if err != nil {
		return "", fmt.Errorf("report %s: %w", run.ID, err)
	}
	path := filepath.Join(dir, record.ReportFile)
	if err := replaceFile(path, func(w io.Writer) error { return reportTemplate.Execute(w, p) }); err != nil {
		return "", fmt.Errorf("report %s: %w", run.ID, err)
	}
	return path, nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, write func(io.Writer) error) error {
	draft, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return err
	}
	err = write(draft)
	if err == nil {
		err = draft.Chmod(0o644)
	}
	if cerr := draft.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	return nil
}

// newPage puts the sections together, each only where the result has what it shows.
func newPage(run *record.Run, dir string) (*page, error) {
	p := &page{Run: run, Verdict: verdictLine(run), Class: run.Verdict.Result, Repeat: repeat(run),
		Facts: factRows(&run.Environment), Config: configRows(run.Config), hues: map[string]int{}}
	for i := range run.Verdict.Targets {
		p.Targets = append(p.Targets, newTargetRow(run, &run.Verdict.Targets[i]))
	}
	for i := range run.Arms {
		arm := &run.Arms[i]
		for _, rep := range arm.Repetitions {
			if rep.Status != record.OK {
				p.Problems = append(p.Problems, fmt.Sprintf("%s, repetition %d: %s: %s", arm.Name, rep.Number, rep.Status, rep.Problem))
			}
		}
	}
	verdict, err := readVerdict(dir)
	if err != nil {
		return nil, err
	}
	comparison, err := comparisonSection(run, verdict, dir)
	if err != nil {
		return nil, err
	}
	where, err := attributionSection(verdict, dir)
	if err != nil {
		return nil, err
	}
	latency, err := loadSection(run, dir)
	if err != nil {
		return nil, err
	}
	flames, err := profileSection(run, dir)
	if err != nil {
		return nil, err
	}
	p.add(comparison, where, latency)
	if run.Kind != record.KindComparison { // its arms are in the sections of the blocks
		p.add(p.armsSection())
	}
	p.add(p.ratesSection(), p.scalingSection(), p.latencySection(), factorSection(run), flames, measuredSection(run))
	return p, nil
}

func (p *page) add(sections ...section) {
	for _, s := range sections {
		if !s.empty() {
			p.Sections = append(p.Sections, s)
		}
	}
}

// hue is the colour of a path: by first appearance.
func (p *page) hue(name string) int {
	h, ok := p.hues[name]
	if !ok {
		h = len(p.hues)
		p.hues[name] = h
	}
	return h
}

func newTargetRow(run *record.Run, t *record.Target) targetRow {
	text := textOf(run, t)
	r := targetRow{Name: t.Name, Want: text.want, Found: text.found, Range: text.span, Result: t.Result}
	if t.Repetitions == 0 {
		return r
	}
	title := fmt.Sprintf("%s: %s, %s, wanted %s", t.Name, text.found, text.span, text.want)
	if t.Against != "" {
		r.Plot = draw.Small(title, t.Low, t.Ratio, t.High, t.AtLeast, true)
	} else {
		r.Plot = draw.Small(title, t.Low, t.Value, t.High, t.AtMost, false)
	}
	return r
}

// measuredSection is every quantity of every arm, those that were compared with each
// other in one table.
func measuredSection(run *record.Run) section {
	s := section{ID: "measured", Title: "What was measured",
		Words: []string{"Median of the good repetitions with the range; counts are sums over all repetitions."}}
	units := shownUnits(run)
	blocks := blocksOf(run)
	if len(run.Arms) <= columnsMax {
		s.Tables = []draw.Table{columnsTable(run, units)}
		return s
	}
	for _, b := range blocks {
		t := draw.Table{Title: b.name, Head: []string{"arm", "n"}}
		var has []record.Unit
		for _, u := range units {
			if b.has(u.Name) {
				has = append(has, u)
				t.Head = append(t.Head, columnName(u))
			}
		}
		for _, arm := range b.arms {
			row := []string{b.short(arm), repetitionsWord(arm)}
			for _, u := range has {
				row = append(row, cellOf(arm, u))
			}
			t.Rows = append(t.Rows, row)
		}
		s.Tables = append(s.Tables, t)
	}
	if len(s.Tables) > foldedBlocks {
		s.Folds = []fold{{Title: fmt.Sprintf("All %d tables", len(s.Tables)), Tables: s.Tables}}
		s.Tables = nil
	}
	return s
}

// columnsMax is how many arms stand side by side; more are rows.
const columnsMax = 3

// columnsTable has few arms side by side, one quantity a row.
func columnsTable(run *record.Run, units []record.Unit) draw.Table {
	t := draw.Table{Head: []string{""}}
	for i := range run.Arms {
		t.Head = append(t.Head, armTitle(run.Arms[i].Name))
	}
	for _, u := range units {
		row := []string{columnName(u)}
		for i := range run.Arms {
			row = append(row, cellOf(&run.Arms[i], u))
		}
		t.Rows = append(t.Rows, row)
	}
	if run.Kind == record.KindSuite {
		row := []string{"WAL phase"}
		for i := range run.Arms {
			row = append(row, phaseOf(&run.Arms[i]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// shownUnits are the quantities a reader is shown.
func shownUnits(run *record.Run) []record.Unit {
	var units []record.Unit
	for _, u := range run.Units {
		if u.Name != "acked" && u.Name != "offered" {
			units = append(units, u)
		}
	}
	return units
}

// cellOf shows one quantity of one arm; times are in ms.
func cellOf(arm *record.Arm, u record.Unit) string {
	vs := arm.Values(u.Name)
	if u.Unit == "B" && len(vs) > 0 { // such as 1.06G
		return spanText(draw.Row{Low: slices.Min(vs), Mid: stats.Median(vs), High: slices.Max(vs)}, len(vs))
	}
	r := column{name: u.Name, scale: scaleOf(u), form: "%.0f"}
	if len(vs) > 0 && !counts[u.Name] {
		r.form = plainForm(r.scale * stats.Median(vs))
	}
	return r.cellText(arm)
}

// scaleOf makes ms of ns.
func scaleOf(u record.Unit) float64 {
	if u.Unit == "ns" {
		return 1e-6
	}
	return 1
}

// plainForm writes about four digits, never an exponent.
func plainForm(v float64) string {
	switch {
	case v >= 1000:
		return "%.0f"
	case v >= 100:
		return "%.1f"
	case v >= 1:
		return "%.2f"
	}
	return "%.3f"
}

func columnName(u record.Unit) string {
	name := strings.ReplaceAll(u.Name, "_", " ")
	switch u.Unit {
	case u.Name:
		return name
	case "ns":
		return name + ", ms"
	}
	return name + ", " + u.Unit
}
