package draw

import (
	"cmp"
	"html/template"
	"slices"
	"strings"
)

// Figure is a chart, ready to stand in a page.
type Figure struct {
	Title string
	Text  string // what it shows, in words
	SVG   template.HTML
	Keys  []Key // what its colours, dashes and shapes stand for
	Data  Table // the same as numbers
	Wide  bool  // needs the whole width, and scrolls where that is too little
}

// Key is one entry of a legend.
type Key struct {
	Name string
	SVG  template.HTML
}

// Table is figures in rows; the first column names the row.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// Series is one line, with or without a band behind it, or one set of marks.
type Series struct {
	Name       string // in the legend; "" keeps it out of there and of the table
	Hue        int    // colour, dash and shape, from 0
	Line, Dots bool
	Points     []Point
	Band       []Span // shaded behind the line
}

// Span is what lies between two values at one X.
type Span struct{ X, Low, High float64 }

// Point is a place in the units of the axes.
type Point struct{ X, Y float64 }

// Rule is a dashed line across the plot at one value of the axis of values.
type Rule struct {
	At    float64
	Label string
}

// tabulate puts series side by side: a row for each X, with all their values there.
func tabulate(x string, series []Series) Table {
	t := Table{Head: []string{x}}
	cells := map[float64][][]string{}
	var named []Series
	for _, s := range series {
		if s.Name != "" {
			named = append(named, s)
			t.Head = append(t.Head, s.Name)
		}
	}
	for i, s := range named {
		for _, p := range s.Points {
			if cells[p.X] == nil {
				cells[p.X] = make([][]string, len(named))
			}
			cells[p.X][i] = append(cells[p.X][i], Short(p.Y))
		}
	}
	xs := make([]float64, 0, len(cells))
	for v := range cells {
		xs = append(xs, v)
	}
	slices.SortFunc(xs, cmp.Compare[float64])
	for _, v := range xs {
		row := []string{Short(v)}
		for _, c := range cells[v] {
			row = append(row, strings.Join(c, ", "))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
