package flame

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// stacked makes a profile of stacks, outermost first; a comma begins what was inlined
// into the function before it.
func stacked(stacks map[string]int64) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}
	for stack, n := range stacks {
		s := &profile.Sample{Value: []int64{1, n}}
		names := strings.Split(stack, ";")
		slices.Reverse(names)
		for _, name := range names {
			l := &profile.Location{ID: uint64(len(p.Location) + 1)}
			inlined := strings.Split(name, ",")
			slices.Reverse(inlined)
			for _, in := range inlined {
				f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: in}
				p.Function = append(p.Function, f)
				l.Line = append(l.Line, profile.Line{Function: f})
			}
			p.Location = append(p.Location, l)
			s.Location = append(s.Location, l)
		}
		p.Sample = append(p.Sample, s)
	}
	return p
}

var rects = regexp.MustCompile(`<g><title>([^<]*)</title><rect class="mark frame (\w+)" x="([\d.]+)" y="(\d+)" width="([\d.]+)"`)

// drawn is the frames of a picture by the name that their titles begin with: class,
// left edge, row, width.
func drawn(t *testing.T, svg string) map[string][4]string {
	t.Helper()
	out := map[string][4]string{}
	for _, m := range rects.FindAllStringSubmatch(svg, -1) {
		name, _, _ := strings.Cut(m[1], ": ")
		out[name] = [4]string{m[2], m[3], m[4], m[5]}
	}
	return out
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFigure(t *testing.T) {
	p := stacked(map[string]int64{
		"main.main;dyno/engine.(*Node).run,dyno/engine.step;syscall.Syscall": 600,
		"main.main;dyno/engine.(*Node).run":                                  200,
		"main.main;a.rec;a.rec":                                              200,
	})
	f, err := Figure("t", "s", Side{Profile: p, Cost: 5})
	if err != nil {
		t.Fatal(err)
	}
	got := drawn(t, string(f.SVG))
	for name, want := range map[string][2]float64{ // row and width
		"all": {0, 1000}, "main.main": {1, 1000}, "dyno/engine.(*Node).run": {2, 800}, "dyno/engine.step": {3, 600}, "syscall.Syscall": {4, 600},
	} {
		if row, w := number(t, got[name][2])/rowHeight, number(t, got[name][3]); row != want[0] || math.Abs(w-want[1]) > 0.5 {
			t.Errorf("%s: row %v, width %v, want %v", name, row, w, want)
		}
	}
	if got["dyno/engine.step"][0] != "own" || got["syscall.Syscall"][0] != "disk" || got["a.rec"][0] != "lib" {
		t.Errorf("colours %v", got)
	}
	var rows []string
	for _, r := range f.Data.Rows {
		rows = append(rows, strings.Join(r, "|"))
	}
	// A function that calls itself counts once in what it took with what it called.
	if want := "syscall.Syscall|3|3;a.rec|1|1;dyno/engine.(*Node).run|1|4"; strings.Join(rows, ";") != want {
		t.Errorf("table %v, want %s", rows, want)
	}
}

func TestDifference(t *testing.T) {
	base := stacked(map[string]int64{"main.main;a.same": 50, "main.main;a.less": 40, "main.main;a.gone": 10})
	// As many samples, but all of it stands for half as much again.
	head := stacked(map[string]int64{"main.main;a.same": 100, "main.main;a.less": 60, "main.main;a.more": 140})
	f, err := Difference("t", "s", Side{Name: "base", Profile: base, Cost: 10}, Side{Name: "head", Profile: head, Cost: 15})
	if err != nil {
		t.Fatal(err)
	}
	got := drawn(t, string(f.SVG))
	for name, want := range map[string]string{"a.same": "same", "a.less": "less3", "a.gone": "less3", "a.more": "more3", "main.main": "more3"} {
		if got[name][0] != want {
			t.Errorf("%s is %s, want %s", name, got[name][0], want)
		}
	}
	if w := number(t, got["a.more"][3]); math.Abs(w-1000*3.5/12.5) > 1 {
		t.Errorf("a.more is %v wide", w)
	}
	if !strings.Contains(string(f.SVG), ">+ a.more<") || !strings.Contains(string(f.SVG), ">− a.less<") {
		t.Errorf("the sign is told by colour alone:\n%s", f.SVG)
	}
	if r := strings.Join(f.Data.Rows[0], "|"); r != "a.more|0|7|+7|+7" {
		t.Errorf("most changed: %s", r)
	}
	if r := f.Data.Rows[1]; r[0] != "a.gone" && r[0] != "a.less" {
		t.Errorf("then: %v", r)
	}
	// Without costs the shares are compared.
	f, err = Difference("t", "s", Side{Profile: base}, Side{Profile: head, Cost: 15})
	if err != nil || !strings.Contains(f.Text, "From 100 to 100 %") {
		t.Errorf("%v, %v", f.Text, err)
	}
}

// However many functions there are, and however deep they call each other, a picture
// stays small, and what is left out of it is told in its width.
func TestPicturesAreBounded(t *testing.T) {
	stacks := map[string]int64{}
	for i := range 20_000 {
		f := i % 400 // each wide enough to be drawn
		stacks[fmt.Sprintf("main.main;a.f%d;a.g%d;a.h%d;a.i%d", f, f, f, i)] = int64(1 + i%7)
	}
	deep := strings.TrimSuffix(strings.Repeat("a.deep;", 500), ";")
	stacks[deep] = 30_000
	f, err := Figure("t", "s", Side{Profile: stacked(stacks), Cost: 1})
	if err != nil {
		t.Fatal(err)
	}
	frames := rects.FindAllStringSubmatch(string(f.SVG), -1)
	if len(frames) > framesMax || len(f.SVG) > 512<<10 || len(f.Data.Rows) > topMost {
		t.Errorf("%d frames, %d bytes, %d rows", len(frames), len(f.SVG), len(f.Data.Rows))
	}
	third := 0.0
	for _, m := range frames {
		if row := number(t, m[4]) / rowHeight; row >= depthMax {
			t.Errorf("row %v", row)
		} else if row == 2 {
			third += number(t, m[5])
		}
	}
	if third < 990 || third > 1000 {
		t.Errorf("the third row is %v wide: something was left out without a trace", third)
	}
}

func TestTwoDrawingsAreAlike(t *testing.T) {
	p := stacked(map[string]int64{"a;b": 1, "a;c": 2, "a;d": 3, "e;f": 1})
	first, err := Figure("t", "s", Side{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if again, err := Figure("t", "s", Side{Profile: p}); err != nil || again.SVG != first.SVG {
			t.Fatalf("another picture of the same profile: %v", err)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu.pprof")
	write := func(p *profile.Profile) {
		t.Helper()
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := p.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write(stacked(map[string]int64{"a": 3}))
	if p, err := Read(path); err != nil || total(p) != 3 {
		t.Errorf("read %v, %v", p, err)
	}
	write(stacked(nil))
	if _, err := Read(path); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty profile: %v", err)
	}
	if _, err := Figure("t", "s", Side{Profile: stacked(nil)}); !errors.Is(err, ErrEmpty) {
		t.Errorf("a picture of nothing: %v", err)
	}
	if err := os.WriteFile(path, []byte("no profile"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || errors.Is(err, ErrEmpty) {
		t.Errorf("no profile: %v", err)
	}
}

func TestShortNames(t *testing.T) {
	for name, want := range map[string]string{
		"dyno/engine/replica.(*Replica).turn": "replica.(*Replica).turn", "runtime.mallocgc": "runtime.mallocgc",
		"a/b.F[go.shape/x]": "b.F[go.shape/x]", "(x)": "(x)",
	} {
		if got := short(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
