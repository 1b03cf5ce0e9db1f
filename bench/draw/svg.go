package draw

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// A chart is Width units wide. That is about a phone's width, so text keeps its size
// there.
const Width = 400

// frame is the plot area in units.
type frame struct{ left, right, top, bottom float64 }

func (f frame) x(a Axis, v float64) (float64, bool) {
	s, ok := a.share(v)
	return f.left + s*(f.right-f.left), ok
}

func (f frame) y(a Axis, v float64) (float64, bool) {
	s, ok := a.share(v)
	return f.bottom - s*(f.bottom-f.top), ok
}

// sheet collects the text of one SVG.
type sheet struct {
	strings.Builder
	frame
}

func (s *sheet) add(format string, args ...any) {
	fmt.Fprintf(s, format, args...)
	s.WriteByte('\n')
}

// text writes words; anchor is start, middle or end.
func (s *sheet) text(x, y float64, anchor, class, words string) {
	s.add(`<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, html.EscapeString(words))
}

// begin opens a chart that can be reached with the keyboard and is read out as its
// title and words.
func (s *sheet) begin(title, words string, height float64) {
	s.add(`<svg class="chart" viewBox="0 0 %d %.0f" role="img" tabindex="0"><title>%s</title><desc>%s</desc>`, Width, height,
		html.EscapeString(title), html.EscapeString(words))
	s.add(`<rect class="plot" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, s.left, s.top, s.right-s.left, s.bottom-s.top)
}

func (s *sheet) end() template.HTML {
	s.WriteString("</svg>")
	return template.HTML(s.String()) // every text in it was escaped by text or begin
}

// across draws the axis that runs from left to right, below the frame.
func (s *sheet) across(a Axis) {
	for _, t := range a.Ticks {
		if x, ok := s.x(a, t.At); ok {
			s.add(`<path class="grid" d="M%.1f %.1fV%.1f"/>`, x, s.top, s.bottom)
			const letter = 3.5 // half as wide as one is
			if half := letter * float64(len(t.Label)); x+half > Width {
				s.text(Width-1, s.bottom+16, "end", "tick", t.Label)
			} else {
				s.text(max(x, half), s.bottom+16, "middle", "tick", t.Label)
			}
		}
	}
	s.text(s.right, s.bottom+31, "end", "label", a.Label)
}

// up draws the axis that runs from bottom to top, left of the frame.
func (s *sheet) up(a Axis) {
	for _, t := range a.Ticks {
		if y, ok := s.y(a, t.At); ok {
			s.add(`<path class="grid" d="M%.1f %.1fH%.1f"/>`, s.left, y, s.right)
			s.text(s.left-5, y+4, "end", "tick", t.Label)
		}
	}
	s.text(2, s.top-9, "start", "label", a.Label)
}

// hues is how many colours, dashes and shapes there are; more series begin again.
const hues = 7

// shapes are the outlines of marks of radius 1, clockwise; the first is a circle.
var shapes = [hues][]Point{
	nil,
	{{-.85, -.85}, {.85, -.85}, {.85, .85}, {-.85, .85}},
	{{0, -1.15}, {1.1, .85}, {-1.1, .85}},
	{{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}},
	{{0, 1.15}, {-1.1, -.85}, {1.1, -.85}},
	{{-.4, -1.2}, {.4, -1.2}, {.4, -.4}, {1.2, -.4}, {1.2, .4}, {.4, .4}, {.4, 1.2}, {-.4, 1.2}, {-.4, .4}, {-1.2, .4}, {-1.2, -.4}, {-.4, -.4}},
	{{-1.1, -.6}, {-.6, -1.1}, {0, -.5}, {.6, -1.1}, {1.1, -.6}, {.5, 0}, {1.1, .6}, {.6, 1.1}, {0, .5}, {-.6, 1.1}, {-1.1, .6}, {-.5, 0}},
}

// outline is the path of a mark.
func outline(shape int, x, y, r float64) string {
	points := shapes[shape%hues]
	if points == nil {
		return fmt.Sprintf("M%.1f %.1fa%.1f %.1f 0 1 0 %.1f 0a%.1f %.1f 0 1 0 %.1f 0z", x-r, y, r, r, 2*r, r, r, -2*r)
	}
	var b strings.Builder
	verb := "M"
	for _, p := range points {
		fmt.Fprintf(&b, "%s%.1f %.1f", verb, x+r*p.X, y+r*p.Y)
		verb = "L"
	}
	return b.String() + "z"
}

const markRadius = 3.4

// mark draws a filled shape.
func (s *sheet) mark(hue int, x, y, r float64) {
	s.add(`<path class="mark f%d" d="%s"/>`, hue%hues, outline(hue, x, y, r))
}
