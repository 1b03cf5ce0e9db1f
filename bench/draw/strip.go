package draw

import (
	"html/template"
	"math"
	"strings"
)

// Strip is a chart with one axis of values and a row for each thing compared.
type Strip struct {
	Title, Text string
	X           Axis
	Rows        []Row
	Rules       []Rule // values of X
	Wanted      string // what Row.Wanted stands for, for the legend
}

// Row is one thing compared. Low <= Mid <= High.
type Row struct {
	Name           string
	Hue            int
	Dots           []float64 // every value
	Low, Mid, High float64
	Note           string  // the same in figures
	Wanted         float64 // a value asked for or claimed; 0 means none
}

const (
	rowHeight = 36
	rowMiddle = 24 // where the marks lie in a row, below its name
)

// Figure draws the strip.
func (p *Strip) Figure() Figure {
	top := 8 + 13*float64(len(p.Rules))
	bottom := top + rowHeight*float64(len(p.Rows)) + 6
	s := sheet{frame: frame{left: 12, right: Width - 12, top: top, bottom: bottom}}
	s.begin(p.Title, p.Text, bottom+38)
	s.across(p.X)
	s.rules(p.Rules, p.X, len(p.Rows))
	f := Figure{Title: p.Title, Text: p.Text, Data: Table{Head: []string{"", "middle", "low", "high", "values"}}}
	for i, r := range p.Rows {
		y := top + rowHeight*float64(i)
		s.text(s.left+2, y+13, "start", "name", shorten(r.Name, nameRoom(r.Note)))
		s.text(s.right-2, y+13, "end", "tick", r.Note)
		s.row(r, p.X, y+rowMiddle)
		var values []string
		for _, v := range r.Dots {
			values = append(values, Short(v))
		}
		f.Data.Rows = append(f.Data.Rows, []string{r.Name, Short(r.Mid), Short(r.Low), Short(r.High), strings.Join(values, ", ")})
	}
	f.SVG = s.end()
	f.Keys = []Key{
		{"one repetition", `<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><circle class="ring c0" cx="15" cy="6" r="3.2"/></svg>`},
		{"median and its interval", `<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><path class="span c0" d="M2 6H28M2 2V10M28 2V10"/><path class="f0" d="M15 1L20 6L15 11L10 6z"/></svg>`},
	}
	if p.Wanted != "" {
		f.Keys = append(f.Keys, Key{p.Wanted, `<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><path class="rule" d="M15 0V12"/></svg>`})
	}
	return f
}

// rules draws a line for each rule: beside its label, and in each row where the marks
// lie, so that it runs through no words.
func (s *sheet) rules(rules []Rule, a Axis, rows int) {
	for i, r := range rules {
		x, ok := s.x(a, r.At)
		if !ok {
			continue
		}
		s.add(`<path class="rule" d="M%.1f %.1fv11"/>`, x, 4+13*float64(i))
		for row := range rows {
			s.add(`<path class="rule" d="M%.1f %.1fv18"/>`, x, s.top+rowHeight*float64(row)+rowMiddle-8)
		}
		anchor, at := "start", x+4
		if x > (s.left+s.right)/2 {
			anchor, at = "end", x-4
		}
		s.text(at, 13+13*float64(i), anchor, "label", r.Label)
	}
}

func (s *sheet) row(r Row, a Axis, y float64) {
	hue := r.Hue % hues
	if x, ok := s.x(a, r.Wanted); ok && r.Wanted != 0 {
		s.add(`<path class="rule" d="M%.1f %.1fv18"/>`, x, y-9)
	}
	low, ok := s.x(a, r.Low)
	high, also := s.x(a, r.High)
	if ok && also && r.High > r.Low {
		s.add(`<path class="mark span c%d" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8"/>`, hue, low, y, high, low, y-4, high, y-4)
	}
	for _, v := range r.Dots {
		if x, ok := s.x(a, v); ok {
			s.add(`<circle class="mark ring c%d" cx="%.1f" cy="%.1f" r="3.2"/>`, hue, x, y)
		}
	}
	if x, ok := s.x(a, r.Mid); ok {
		s.add(`<path class="mark f%d" d="%s"/>`, hue, outline(3, x, y, 4))
	}
}

// nameRoom is how many letters a name may have beside a note.
func nameRoom(note string) int {
	const room, letter, bold = Width - 36, 6.4, 7.4 // units; about as wide as a letter is
	return int((room - letter*float64(len(note))) / bold)
}

// shorten cuts a name that would run into what stands beside it.
func shorten(name string, most int) string {
	if r := []rune(name); len(r) > most && most > 1 {
		return string(r[:most-1]) + "…"
	}
	return name
}

// Small draws one value with its interval and the line that was asked for, without an
// axis: for a cell of a table that holds the figures. The side that was asked for is
// shaded. least says that it is the one above.
func Small(title string, low, mid, high, wanted float64, least bool) template.HTML {
	const width, height = 150, 22
	from, to := math.Min(low, wanted), math.Max(high, wanted)
	a := Axis{From: from, To: to, Log: from > 0 && to/from > 20}
	if from == to {
		a.From, a.To = from-1, to+1
	}
	s := sheet{frame: frame{left: 8, right: width - 8, top: 0, bottom: height}}
	s.add(`<svg class="small" viewBox="0 0 %d %d" role="img"><title>%s</title>`, width, height, template.HTMLEscapeString(title))
	s.add(`<rect class="plot" x="0" y="0" width="%d" height="%d"/>`, width, height)
	x, _ := s.x(a, wanted)
	if least {
		s.add(`<path class="side" d="M%.1f 0H%dV%dH%.1fz"/>`, x, width, height, x)
	} else {
		s.add(`<path class="side" d="M0 0H%.1fV%dH0z"/>`, x, height)
	}
	s.add(`<path class="rule" d="M%.1f 0V%d"/>`, x, height)
	s.row(Row{Low: low, Mid: mid, High: high}, a, height/2)
	return s.end()
}
