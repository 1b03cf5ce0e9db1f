package bench

import (
	_ "embed"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"

	"dyno/bench/draw"
	"dyno/bench/record"
)

//go:embed index.html.tmpl
var indexText string

var indexTemplate = template.Must(template.Must(reportTemplate.Clone()).New("index").Parse(indexText))

type indexRow struct {
	ID, Link, Result, Text, Commit, Machine, Problem string
}

// WriteIndex writes index.html into the directory into: a table of the results, the
// newest first, with links to their reports relative to that directory, and the trends
// where there are any. It returns the page's path.
func WriteIndex(into string, entries []record.Entry, trends []*Trend) (string, error) {
	rows := make([]indexRow, 0, len(entries))
	for _, e := range entries {
		row := indexRow{ID: e.ID}
		if rel, err := filepath.Rel(into, filepath.Join(e.Path, record.ReportFile)); err == nil {
			row.Link = filepath.ToSlash(rel)
		}
		if e.Err != nil {
			row.Problem = e.Err.Error()
		} else {
			row.Result, row.Text = e.Run.Verdict.Result, e.Run.Verdict.Text
			row.Commit, row.Machine = e.Run.Commit.Hash, e.Run.Environment.Fingerprint
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b indexRow) int { return record.CompareIDs(b.ID, a.ID) })
	if err := os.MkdirAll(into, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(into, "index.html")
	page := struct {
		Rows   []indexRow
		Trends []draw.Figure
	}{rows, figuresOf(trends)}
	return path, replaceFile(path, func(w io.Writer) error { return indexTemplate.Execute(w, page) })
}
