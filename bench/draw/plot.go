package draw

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
)

// Plot is a chart with two axes.
type Plot struct {
	Title, Text string
	X, Y        Axis
	Series      []Series
	Rules       []Rule // values of Y
	Data        Table  // empty: the points of the named series
}

// Figure draws the plot.
func (p *Plot) Figure() Figure {
	const height = 250
	s := sheet{frame: frame{left: 46, right: Width - 16, top: 24, bottom: height - 38}}
	s.begin(p.Title, p.Text, height)
	s.up(p.Y)
	s.across(p.X)
	for _, r := range p.Rules {
		if y, ok := s.y(p.Y, r.At); ok {
			s.add(`<path class="rule" d="M%.1f %.1fH%.1f"/>`, s.left, y, s.right)
			if r.Label != "" {
				s.text(s.right-3, y-4, "end", "label", r.Label)
			}
		}
	}
	for _, line := range p.Series {
		s.band(line, p.X, p.Y)
	}
	for _, line := range p.Series {
		s.series(line, p.X, p.Y)
	}
	f := Figure{Title: p.Title, Text: p.Text, SVG: s.end(), Data: p.Data}
	for _, line := range p.Series {
		if line.Name != "" {
			f.Keys = append(f.Keys, key(line))
		}
	}
	if len(f.Data.Rows) == 0 {
		f.Data = tabulate(p.X.Label, p.Series)
	}
	return f
}

func (s *sheet) series(line Series, x, y Axis) {
	var path strings.Builder
	verb, points := "M", 0
	for _, p := range line.Points {
		px, ok := s.x(x, p.X)
		py, also := s.y(y, p.Y)
		if !ok || !also {
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", verb, px, py)
		verb = "L"
		points++
		if line.Dots {
			s.mark(line.Hue, px, py, markRadius)
		}
	}
	if line.Line && points > 1 {
		s.add(`<path class="mark line c%d" d="%s"/>`, line.Hue%hues, path.String())
	}
}

// band shades what a series spans, as far as it has a place.
func (s *sheet) band(line Series, x, y Axis) {
	var there, back []string
	for _, b := range line.Band {
		px, ok := s.x(x, b.X)
		low, lowOK := s.y(y, b.Low)
		high, highOK := s.y(y, b.High)
		if ok && lowOK && highOK {
			there = append(there, fmt.Sprintf("%.1f %.1f", px, low))
			back = append(back, fmt.Sprintf("%.1f %.1f", px, high))
		}
	}
	if len(there) > 1 {
		slices.Reverse(back)
		s.add(`<path class="mark band f%d" d="M%sz"/>`, line.Hue%hues, strings.Join(append(there, back...), "L"))
	}
}

// key draws a series as the legend has it.
func key(line Series) Key {
	var b strings.Builder
	b.WriteString(`<svg class="key" viewBox="0 0 30 12" aria-hidden="true">`)
	if line.Line {
		fmt.Fprintf(&b, `<path class="line c%d" d="M0 6H30"/>`, line.Hue%hues)
	}
	if line.Dots {
		fmt.Fprintf(&b, `<path class="f%d" d="%s"/>`, line.Hue%hues, outline(line.Hue, 15, 6, markRadius))
	}
	b.WriteString(`</svg>`)
	return Key{line.Name, template.HTML(b.String())} // numbers only
}
