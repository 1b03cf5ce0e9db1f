package draw

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", -1.5: "-1.5", 0.05: "0.05", 1.2345: "1.23", 999.4: "999", 999.6: "1000", 1234: "1234", 12345: "12.3k", 99_960: "100k",
		999_499: "999k", 999_600: "1M", 1_500_000: "1.5M", 2.5e9: "2.5G", 1e-7: "0.0000001", -12345: "-12.3k",
	} {
		if got := Short(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

// Whatever the range, an axis holds its values, has a few ticks in order and within it,
// and no two ticks of one name.
func TestAxesHoldTheirValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	check := func(name string, a Axis, low, high float64) {
		t.Helper()
		for _, v := range []float64{low, high} {
			if s, ok := a.share(v); !ok || s < -1e-9 || s > 1+1e-9 {
				t.Errorf("%s %v to %v: %v lies at %v of %v to %v", name, low, high, v, s, a.From, a.To)
			}
		}
		if len(a.Ticks) < 2 || len(a.Ticks) > 11 {
			t.Errorf("%s %v to %v: %d ticks", name, low, high, len(a.Ticks))
		}
		seen := map[string]bool{}
		for _, tick := range a.Ticks {
			if s, ok := a.share(tick.At); !ok || s < -1e-9 || s > 1+1e-9 || seen[tick.Label] {
				t.Errorf("%s %v to %v: tick %+v at %v", name, low, high, tick, s)
			}
			seen[tick.Label] = true
		}
	}
	for range 2000 {
		low := math.Pow(10, -3+9*r.Float64())
		high := low * (1 + math.Pow(10, -2+5*r.Float64()))
		check("Log", Log("", low, high), low, high)
		check("Linear", Linear("", 0, high), 0, high)
		check("Linear", Linear("", -low, high), -low, high)
	}
	check("Linear", Linear("", 0, 0), 0, 0)
	check("Log", Log("", 5, 5), 5, 5)
	check("Powers", Powers("", 1, 512, 4), 1, 512)
}

func TestNoPlaceOnALogarithmicAxis(t *testing.T) {
	a := Log("", 1, 10)
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if s, ok := a.share(v); ok {
			t.Errorf("%v lies at %v", v, s)
		}
	}
}

// parsed fails the test unless an SVG is XML, and counts its elements by class.
func parsed(t *testing.T, svg string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return counts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			counts[e.Name.Local]++
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					for _, c := range strings.Fields(a.Value) {
						counts["."+c]++
					}
				}
			}
		}
	}
}

func TestPlot(t *testing.T) {
	p := Plot{Title: "a <b> & c", Text: `say "it"`, X: Linear("s", 0, 3), Y: Log("ms", 1, 100), Rules: []Rule{{At: 10, Label: "<wanted>"}}, Series: []Series{
		{Name: "one", Line: true, Dots: true, Points: []Point{{0, 1}, {1, 10}, {2, 0}, {3, 100}}}, // one has no place
		{Hue: 1, Line: true, Points: []Point{{0, 2}, {3, 3}}},
		{Name: "two", Hue: 8, Dots: true, Points: []Point{{1, 5}, {1, 6.126}}},
		{Hue: 2, Line: true, Points: []Point{{1, 5}}},
	}}
	f := p.Figure()
	got := parsed(t, string(f.SVG))
	if got[".mark"] != 3+2+2 || got[".line"] != 2 || // no line of a single point
		got[".rule"] != 1 || got["title"] != 1 || got["desc"] != 1 {
		t.Errorf("drawn %v", got)
	}
	if strings.Contains(string(f.SVG), "<b>") || strings.Contains(string(f.SVG), "<wanted>") {
		t.Errorf("words were taken for markup:\n%s", f.SVG)
	}
	if len(f.Keys) != 2 || f.Keys[0].Name != "one" || f.Keys[1].Name != "two" {
		t.Errorf("legend %v", f.Keys)
	}
	var rows []string
	for _, r := range f.Data.Rows {
		rows = append(rows, strings.Join(r, "|"))
	}
	if want := "0|1|;1|10|5, 6.13;2|0|;3|100|"; strings.Join(rows, ";") != want || strings.Join(f.Data.Head, "|") != "s|one|two" {
		t.Errorf("table %v, want %s", f.Data, want)
	}
}

// A band goes along its lower ends and back along its upper ones, without those that
// have no place; one of a single place is none. It lies behind all lines.
func TestBand(t *testing.T) {
	p := Plot{X: Linear("", 0, 10), Y: Log("", 1, 100), Series: []Series{
		{Line: true, Points: []Point{{1, 2}, {9, 20}}},
		{Hue: 1, Band: []Span{{1, 1, 10}, {5, 0, 10}, {9, 10, 100}}},
		{Hue: 2, Band: []Span{{1, 1, 10}}},
	}}
	svg := string(p.Figure().SVG)
	if got := parsed(t, svg); got[".band"] != 1 {
		t.Fatalf("%d bands", got[".band"])
	}
	if strings.Index(svg, "band") > strings.Index(svg, "mark line") {
		t.Error("the band hides a line")
	}
	d := regexp.MustCompile(`class="mark band f1" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)z"`).FindStringSubmatch(svg)
	if d == nil {
		t.Fatalf("no band of four corners in\n%s", svg)
	}
	n := func(i int) float64 { v, _ := strconv.ParseFloat(d[i], 64); return v }
	if n(1) != n(7) || n(3) != n(5) || n(1) >= n(3) || n(2) <= n(8) || n(4) <= n(6) || n(2) <= n(4) {
		t.Errorf("corners %v", d[1:])
	}
}

// A value further right is drawn further right, and one that is higher is drawn higher.
func TestPlotsPlaceTheirMarks(t *testing.T) {
	p := Plot{X: Linear("", 0, 10), Y: Linear("", 0, 10), Series: []Series{{Dots: true, Hue: 1, Points: []Point{{1, 1}, {9, 9}}}}}
	at := regexp.MustCompile(`class="mark f1" d="M([\d.]+) ([\d.]+)L`).FindAllStringSubmatch(string(p.Figure().SVG), -1)
	if len(at) != 2 {
		t.Fatalf("%d marks", len(at))
	}
	n := func(s string) float64 { v, _ := strconv.ParseFloat(s, 64); return v }
	if n(at[0][1]) >= n(at[1][1]) || n(at[0][2]) <= n(at[1][2]) {
		t.Errorf("marks at %v", at)
	}
}

func TestStrip(t *testing.T) {
	p := Strip{Title: "t", Text: "w", X: Linear("", 0, 100), Rules: []Rule{{At: 50, Label: "half"}}, Wanted: "claimed", Rows: []Row{
		{Name: "a", Dots: []float64{10, 20, 30}, Low: 10, Mid: 20, High: 30, Note: "20 (10 to 30)", Wanted: 70},
		{Name: "b", Hue: 9, Dots: []float64{40}, Low: 40, Mid: 40, High: 40},
	}}
	f := p.Figure()
	got := parsed(t, string(f.SVG))
	if got[".ring"] != 4 || got[".span"] != 1 || got[".mark"] != 4+1+2 || got[".rule"] != 1+2+1 {
		t.Errorf("drawn %v", got)
	}
	if len(f.Keys) != 3 || f.Keys[2].Name != "claimed" {
		t.Errorf("legend %v", f.Keys)
	}
	if r := strings.Join(f.Data.Rows[0], "|"); r != "a|20|10|30|10, 20, 30" {
		t.Errorf("table %s", r)
	}
	if got := shorten("a long name", 6); got != "a lon…" {
		t.Errorf("shortened %q", got)
	}
}

// The shaded side is the wanted one, and what is wanted and found both lie within.
func TestSmall(t *testing.T) {
	side := regexp.MustCompile(`class="side" d="M([\d.]+) 0H([\d.]+)V`)
	for _, least := range []bool{true, false} {
		svg := string(Small("t", 2, 3, 4, 1, least))
		parsed(t, svg)
		found := side.FindStringSubmatch(svg)
		if found == nil || least && (found[1] != "8.0" || found[2] != "150") || !least && (found[1] != "0" || found[2] != "8.0") {
			t.Errorf("least %v: %v in\n%s", least, found, svg)
		}
	}
	if svg := string(Small("t", 5, 5, 5, 5, true)); strings.Contains(svg, "NaN") {
		t.Errorf("one value:\n%s", svg)
	}
}
