package flame

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"dyno/bench/draw"
)

// Side is a profile and what all of it stands for.
type Side struct {
	Name    string
	Profile *profile.Profile
	Cost    float64 // of the whole profile, in the unit of the picture; 0 means 100 %
}

// Figure draws one profile. unit is that of head.Cost. Error: ErrEmpty.
func Figure(title, unit string, head Side) (draw.Figure, error) {
	g := newGraph()
	if head.Cost <= 0 {
		head.Cost, unit = 100, "%"
	}
	if err := g.add(head.Profile, 1, head.Cost); err != nil {
		return draw.Figure{}, fmt.Errorf("%s: %w", head.Name, err)
	}
	top := g.top(func(f *function) float64 { return f.self[1] })
	t := draw.Table{Title: "Functions that took most by themselves", Head: []string{"function", "itself, " + unit, "with what it calls, " + unit}}
	var words []string
	for i, f := range top {
		t.Rows = append(t.Rows, []string{f.name, draw.Short(f.self[1]), draw.Short(f.all[1])})
		if i < 3 {
			words = append(words, fmt.Sprintf("%s %s %s", short(f.name), draw.Short(f.self[1]), unit))
		}
	}
	f := draw.Figure{Title: title, Wide: true, Data: t, Text: "Each function is as wide as the time that it and what it called took. By themselves took most: " + strings.Join(words, ", ") + "."}
	p := painter{unit: unit, whole: head.Cost, colour: packageColour}
	f.SVG = p.paint(g, f.Title, f.Text)
	f.Keys = keys(packageColours)
	return f, nil
}

// Difference draws two profiles in one: a function is as wide as it cost on average of
// the two, red with a plus where head costs more, blue with a minus where it costs
// less. Costs should be per unit of work: two profiles of different amounts of work
// differ everywhere. Without both costs the profiles are compared as shares.
// Error: ErrEmpty.
func Difference(title, unit string, base, head Side) (draw.Figure, error) {
	g := newGraph()
	if base.Cost <= 0 || head.Cost <= 0 {
		base.Cost, head.Cost, unit = 100, 100, "%"
	}
	for i, s := range []Side{base, head} {
		if err := g.add(s.Profile, i, s.Cost); err != nil {
			return draw.Figure{}, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	top := g.top(func(f *function) float64 { return math.Abs(f.self[1] - f.self[0]) })
	t := draw.Table{Title: "Functions that changed most by themselves",
		Head: []string{"function", base.Name + ", itself, " + unit, head.Name, "change", "change with what it calls"}}
	var words []string
	for i, f := range top {
		t.Rows = append(t.Rows, []string{f.name, draw.Short(f.self[0]), draw.Short(f.self[1]), signed(f.self[1] - f.self[0]), signed(f.all[1] - f.all[0])})
		if i < 3 {
			words = append(words, fmt.Sprintf("%s %s %s", short(f.name), signed(f.self[1]-f.self[0]), unit))
		}
	}
	f := draw.Figure{Title: title, Wide: true, Data: t,
		Text: fmt.Sprintf("From %s to %s %s in all. Red with a plus: %s costs more. By themselves changed most: %s.", draw.Short(base.Cost), draw.Short(head.Cost), unit, head.Name, strings.Join(words, ", "))}
	p := painter{unit: unit, whole: (base.Cost + head.Cost) / 2, colour: changeColour, both: true}
	f.SVG = p.paint(g, f.Title, f.Text)
	f.Keys = keys(changeColours)
	return f, nil
}

const (
	topMost   = 25
	framesMax = 1200 // of one picture
	depthMax  = 60
	// shareMin is the least share of the whole that a frame is drawn with: under two
	// pixels on a wide screen.
	shareMin = 0.0015

	width     = 1000 // units
	rowHeight = 17
)

// top lists the functions with most of something, the most first.
func (g *graph) top(of func(*function) float64) []*function {
	out := make([]*function, 0, len(g.functions))
	for _, f := range g.functions {
		if of(f) > 0 {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *function) int { return cmp.Or(cmp.Compare(of(b), of(a)), cmp.Compare(a.name, b.name)) })
	return out[:min(len(out), topMost)]
}

// frame is one rectangle.
type frame struct {
	name        string
	all         sides
	depth       int
	from, width float64 // shares of the whole
}

// painter makes frames and draws them.
type painter struct {
	unit   string
	whole  float64
	both   bool // two profiles
	colour func(*painter, *frame) string
	least  float64 // share
	frames []frame
}

// size is a node's width as a share of the whole.
func (p *painter) size(v sides) float64 {
	if p.both {
		return (v[0] + v[1]) / 2 / p.whole
	}
	return v[1] / p.whole
}

// paint lays the frames out, wider and wider ones alone until they are few enough.
func (p *painter) paint(g *graph, title, words string) template.HTML {
	for p.least = shareMin; ; p.least *= 2 {
		p.frames = p.frames[:0]
		p.lay(g.root, 0, 0)
		if len(p.frames) <= framesMax {
			break
		}
	}
	deepest := 0
	for i := range p.frames {
		deepest = max(deepest, p.frames[i].depth)
	}
	var b strings.Builder
	height := (deepest + 1) * rowHeight
	fmt.Fprintf(&b, `<svg class="chart flame" viewBox="0 0 %d %d" role="img" tabindex="0"><title>%s</title><desc>%s</desc><rect class="plot" width="%d" height="%d"/>`,
		width, height, html.EscapeString(title), html.EscapeString(words), width, height)
	for i := range p.frames {
		p.draw(&b, &p.frames[i])
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // every text in it was escaped
}

// lay adds a node and what it called. What is too narrow is put together in one frame,
// if that is wide enough.
func (p *painter) lay(n *node, depth int, from float64) {
	p.frames = append(p.frames, frame{n.name, n.all, depth, from, p.size(n.all)})
	if depth+1 >= depthMax {
		return
	}
	var rest sides
	count := 0
	for _, c := range n.sorted() {
		w := p.size(c.all)
		if w < p.least {
			rest.add(c.all)
			count++
			continue
		}
		p.lay(c, depth+1, from)
		from += w
	}
	if w := p.size(rest); w >= p.least {
		p.frames = append(p.frames, frame{fmt.Sprintf("(%d small ones)", count), rest, depth + 1, from, w})
	}
}

func (p *painter) draw(b *strings.Builder, f *frame) {
	x, y, w := f.from*width, f.depth*rowHeight, f.width*width
	told := fmt.Sprintf("%s: %s %s, %.1f %%", f.name, draw.Short(f.all[1]), p.unit, 100*f.width)
	label := short(f.name)
	if p.both {
		told = fmt.Sprintf("%s: from %s to %s %s, %s", f.name, draw.Short(f.all[0]), draw.Short(f.all[1]), p.unit, signed(f.all[1]-f.all[0]))
		switch class := p.colour(p, f); {
		case strings.HasPrefix(class, "more"):
			label = "+ " + label
		case strings.HasPrefix(class, "less"):
			label = "− " + label
		}
	}
	fmt.Fprintf(b, `<g><title>%s</title><rect class="mark frame %s" x="%.1f" y="%d" width="%.1f" height="%d"/>`,
		html.EscapeString(told), p.colour(p, f), x, y, max(w-0.4, 0.4), rowHeight-1)
	const letter = 6.4 // about as wide as one is
	if room := int((w - 4) / letter); room >= 3 {
		if r := []rune(label); len(r) > room {
			label = string(r[:room-1]) + "…"
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, x+3, y+rowHeight-5, html.EscapeString(label))
	}
	b.WriteString("</g>\n")
}

// short is a function's name without the path of its package.
func short(name string) string {
	if i := strings.IndexAny(name, "[("); i > 0 { // a slash in a type argument is not the path's
		return path.Base(name[:i]) + name[i:]
	}
	return path.Base(name)
}

func signed(v float64) string {
	if v > 0 {
		return "+" + draw.Short(v)
	}
	return draw.Short(v)
}

type colour struct{ class, name string }

var (
	packageColours = []colour{{"own", "dyno"}, {"disk", "system calls"}, {"go", "Go's runtime"}, {"lib", "libraries"}}
	changeColours  = []colour{{"more3", "+ costs more"}, {"same", "as before"}, {"less3", "− costs less"}}
)

// packageColour is by whose code a function is.
func packageColour(_ *painter, f *frame) string {
	switch root, _, _ := strings.Cut(f.name, "/"); {
	case root == "dyno" || strings.HasPrefix(f.name, "main."):
		return "own"
	case strings.Contains(f.name, "syscall."), strings.HasPrefix(f.name, "golang.org/x/sys/"):
		return "disk"
	case strings.HasPrefix(f.name, "runtime."), strings.HasPrefix(f.name, "internal/runtime"), strings.HasPrefix(f.name, "gc"):
		return "go"
	}
	return "lib"
}

// changeColour has three steps each way, from 0.2 %, 1 % and 4 % of the whole on.
func changeColour(p *painter, f *frame) string {
	change := (f.all[1] - f.all[0]) / p.whole
	word := "more"
	if change < 0 {
		word = "less"
	}
	for i, least := range []float64{0.04, 0.01, 0.002} {
		if math.Abs(change) >= least {
			return fmt.Sprintf("%s%d", word, 3-i)
		}
	}
	return "same"
}

func keys(colours []colour) []draw.Key {
	var out []draw.Key
	for _, c := range colours {
		out = append(out, draw.Key{Name: c.name,
			SVG: template.HTML(fmt.Sprintf(`<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><rect class="frame %s" x="4" width="22" height="12"/></svg>`, c.class))})
	}
	return out
}
