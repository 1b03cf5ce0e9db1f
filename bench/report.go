package bench

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"sort"
	"strings"

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
	Facts    [][2]string // environment
	Config   [][2]string
	Targets  []targetRow
	Factors  [][2]string
	Columns  []string
	Groups   []armGroup // one arm a row; many arms
	Arms     []string   // one arm a column; few arms
	Rows     []armRow
	Charts   []*chart
	Problems []string
	Width    int
	Height   int
}

type targetRow struct {
	Name, Want, Found, Range, Result string
}

// armGroup is a table of arms that measure the same thing.
type armGroup struct {
	Title string
	Rows  []armRow
}

type armRow struct {
	Name  string
	Bar   float64 // percent of the group's best
	Cells []string
	Count int
}

// WriteReport draws report.html of the result in dir from its other files and
// returns its path. The file is whole by itself: no network, no script. It may be
// drawn again at any time. Errors: record.ErrNotResult, ErrSchema, ErrInvalid.
func WriteReport(dir string) (string, error) {
	run, err := record.Open(dir)
	if err != nil {
		return "", err
	}
	p, err := newPage(run, dir)
	if err != nil {
		return "", fmt.Errorf("report %s: %w", run.ID, err)
	}
	path := filepath.Join(dir, record.ReportFile)
	draft, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return "", fmt.Errorf("report %s: %w", run.ID, err)
	}
	err = reportTemplate.Execute(draft, p)
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
		return "", errors.Join(fmt.Errorf("report %s: %w", run.ID, err), os.Remove(draft.Name()))
	}
	return path, nil
}

func newPage(run *record.Run, dir string) (*page, error) {
	p := &page{Run: run, Verdict: verdictLine(run), Class: run.Verdict.Result, Width: chartWidth, Height: chartHeight,
		Facts: factRows(&run.Environment), Config: configRows(run.Config)}
	p.table()
	for _, t := range run.Verdict.Targets {
		text := textOf(run, &t)
		p.Targets = append(p.Targets, targetRow{Name: t.Name, Want: text.want, Found: text.found, Range: text.span, Result: t.Result})
	}
	for _, f := range run.Verdict.Factors {
		p.Factors = append(p.Factors, [2]string{f.Name, factorText(&f)})
	}
	p.Charts = scalingCharts(run)
	log, err := readLog(filepath.Join(dir, "latency.hlog"))
	if err != nil || log == nil {
		return p, err
	}
	latency, rate := log.timeCharts()
	for _, c := range []*chart{log.percentileChart(), latency, rate} {
		if c != nil {
			p.Charts = append(p.Charts, c)
		}
	}
	return p, nil
}

// columnsMax is how many arms stand side by side; more are rows.
const columnsMax = 3

// columns lays out few arms side by side, one quantity a row.
func (p *page) columns(units []record.Unit) {
	for i := range p.Run.Arms {
		p.Arms = append(p.Arms, armTitle(p.Run.Arms[i].Name))
	}
	for i, u := range units {
		r := armRow{Name: p.Columns[i]}
		for j := range p.Run.Arms {
			r.Cells = append(r.Cells, cellOf(&p.Run.Arms[j], u))
		}
		p.Rows = append(p.Rows, r)
	}
	phases := armRow{Name: "WAL phase"}
	for i := range p.Run.Arms {
		phases.Cells = append(phases.Cells, phaseOf(&p.Run.Arms[i]))
	}
	if p.Run.Kind == record.KindSuite {
		p.Rows = append(p.Rows, phases)
	}
}

// table lays out all arms, those that were compared with each other together,
// with a bar for the first measured quantity.
func (p *page) table() {
	run := p.Run
	var units []record.Unit
	for _, u := range run.Units {
		if u.Name != "acked" && u.Name != "offered" {
			units = append(units, u)
			p.Columns = append(p.Columns, columnName(u))
		}
	}
	for i := range run.Arms {
		arm := &run.Arms[i]
		for _, rep := range arm.Repetitions {
			if rep.Status != record.OK {
				p.Problems = append(p.Problems, fmt.Sprintf("%s, repetition %d: %s: %s", arm.Name, rep.Number, rep.Status, rep.Problem))
			}
		}
	}
	if len(units) == 0 {
		return
	}
	if len(run.Arms) <= columnsMax {
		p.columns(units)
		return
	}
	index := map[string]int{}
	for i := range run.Arms {
		arm := &run.Arms[i]
		title, rest := arm.Params[paramBlock], arm.Name
		if _, name, cut := strings.Cut(arm.Name, "/"); cut {
			rest = name
		}
		at, ok := index[title]
		if !ok {
			at = len(p.Groups)
			index[title] = at
			p.Groups = append(p.Groups, armGroup{Title: title})
		}
		p.Groups[at].Rows = append(p.Groups[at].Rows, newArmRow(arm, rest, units))
	}
	for _, g := range p.Groups {
		best := 0.0
		for _, r := range g.Rows {
			best = max(best, r.Bar)
		}
		for i := range g.Rows {
			if best > 0 {
				g.Rows[i].Bar *= 100 / best
			}
		}
	}
}

func newArmRow(arm *record.Arm, name string, units []record.Unit) armRow {
	r := armRow{Name: name, Count: len(arm.Repetitions)}
	for i, u := range units {
		r.Cells = append(r.Cells, cellOf(arm, u))
		if vs := arm.Values(u.Name); i == 0 && len(vs) > 0 {
			r.Bar = stats.Median(vs)
		}
	}
	return r
}

// cellOf shows one quantity of one arm; times are in ms.
func cellOf(arm *record.Arm, u record.Unit) string {
	r := column{name: u.Name, scale: 1, form: "%.0f"}
	if u.Unit == "ns" {
		r.scale = 1e-6
	}
	if vs := arm.Values(u.Name); len(vs) > 0 && !counts[u.Name] {
		r.form = plainForm(r.scale * stats.Median(vs))
	}
	return r.cellText(arm)
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

func showUnit(unit string) string {
	if unit == "ns" {
		return "ms"
	}
	return unit
}

func columnName(u record.Unit) string {
	name := strings.ReplaceAll(u.Name, "_", " ")
	if u.Unit == u.Name {
		return name
	}
	return name + ", " + showUnit(u.Unit)
}

func factRows(env *record.Environment) [][2]string {
	f, g, pr := &env.Facts, &env.Go, &env.Probes
	rows := [][2]string{
		{"fingerprint", env.Fingerprint}, {"kernel", f.Kernel}, {"CPU", f.CPU}, {"cores", fmt.Sprint(f.Cores)},
		{"memory", fmt.Sprintf("%d MiB", f.MemoryMiB)}, {"virtual machine", fmt.Sprint(f.Virtual)},
		{"file system", f.Filesystem + " " + f.MountOptions}, {"write cache", f.WriteCache}, {"I/O scheduler", f.Scheduler},
		{"governor", f.Governor}, {"clock source", f.ClockSource},
		{"Go", fmt.Sprintf("%s, GOMAXPROCS %d, GOGC %s, GOMEMLIMIT %s", g.Version, g.GOMAXPROCS, g.GOGC, g.GOMEMLIMIT)},
		{"probe: 4 KiB write and fdatasync", fmt.Sprintf("growing %.0f µs, fallocated %.0f µs, written %.0f µs",
			pr.SyncGrowNs/1e3, pr.SyncFallocateNs/1e3, pr.SyncWrittenNs/1e3)},
		{"probe: loopback round trip", fmt.Sprintf("%.1f µs", pr.LoopbackNs/1e3)},
		{"probe: CRC32C of 1 MiB", fmt.Sprintf("%.1f µs", pr.CPULoopNs/1e3)},
		{"stolen CPU time", fmt.Sprintf("%.2f %%", 100*env.StealShare())},
		{"pressure before", pressureText(env.Before)}, {"pressure after", pressureText(env.After)},
	}
	known := rows[:0]
	for _, r := range rows {
		if strings.TrimSpace(r[1]) != "" {
			known = append(known, r)
		}
	}
	return known
}

func pressureText(p record.Pressures) string {
	return fmt.Sprintf("CPU %.1f %%, I/O %.1f %%, memory %.1f %%, load %.2f", p.CPUSome10, p.IOSome10, p.MemorySome10, p.Load1)
}

func configRows(config map[string]any) [][2]string {
	var rows [][2]string
	for key, v := range config {
		text, ok := v.(string)
		if !ok {
			raw, err := json.Marshal(v)
			if err != nil {
				panic(fmt.Sprintf("BUG: decoded configuration does not encode: %v", err))
			}
			text = string(raw)
		}
		rows = append(rows, [2]string{key, text})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i][0] < rows[j][0] })
	return rows
}
