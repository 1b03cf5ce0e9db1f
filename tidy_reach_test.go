package dyno_test

import (
	"go/ast"
	"go/build/constraint"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dyno/bench/replay"
)

// What reaches what: a check that nothing runs, or that a package goes without, is
// as good as none.

var mutatedLine = regexp.MustCompile(`(?m)^MUTATED := (.*)$`)

// TestMutantsAreRun: `make mutants`, which CI runs, has every test that only a build
// with the tag mutants has.
func TestMutantsAreRun(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := mutatedLine.FindSubmatch(makefile)
	if m == nil {
		t.Fatal("Makefile: no MUTATED")
	}
	unused := strings.Fields(string(m[1]))
	listed := slices.Clone(unused)
	for _, s := range load(t).files {
		if !s.test || !onlyMutants(s.file) {
			continue
		}
		dir := "./" + s.dir + "/"
		unused = slices.DeleteFunc(unused, func(d string) bool { return d == dir })
		if !slices.Contains(listed, dir) {
			t.Errorf("%s: make mutants runs no test of this package: add %s to MUTATED", s.name, dir)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" && !strings.Contains(f.Name.Name, "Mutants") {
				t.Errorf("%s: make mutants passes over %s: name it TestMutants...", s.name, f.Name.Name)
			}
		}
	}
	if len(unused) > 0 {
		t.Errorf("Makefile: no test of %s needs the tag mutants: take it out of MUTATED", strings.Join(unused, " "))
	}
	if ci, err := os.ReadFile(".ci/run"); err != nil || !strings.Contains(string(ci), "\nmake mutants\n") {
		t.Errorf(".ci/run does not run make mutants (%v)", err)
	}
}

// onlyMutants says whether a file is compiled with the tag mutants alone.
func onlyMutants(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			expr, err := constraint.Parse(c.Text)
			if err != nil {
				continue // no build line
			}
			with := func(mutants, others bool) bool {
				return expr.Eval(func(tag string) bool { return tag == "mutants" && mutants || tag != "mutants" && others })
			}
			if with(true, true) && !with(false, true) || with(true, false) && !with(false, false) {
				return true
			}
		}
	}
	return false
}

// leaksUnchecked are packages that start goroutines and have no tests of their own
// to look for those that stay, with what looks instead.
var leaksUnchecked = map[string]string{
	"engine/transport/transporttest": "the tests of the transports run it, and look",
}

// TestGoroutinesAreChecked: where a package starts goroutines, the TestMain of its
// tests fails for one that is left over.
func TestGoroutinesAreChecked(t *testing.T) {
	tr := load(t)
	starts, checked := make(map[string]string), make(map[string]bool)
	for _, s := range tr.files {
		if pos := startsGoroutine(s.file); !s.test && pos.IsValid() && starts[s.dir] == "" {
			starts[s.dir] = tr.at(pos)
		}
		if s.test && checksLeaks(s.file) {
			checked[s.dir] = true
		}
	}
	for dir, at := range starts {
		if leaksUnchecked[dir] == "" && !checked[dir] {
			t.Errorf("%s: a goroutine of %s, whose tests do not look for those that stay: have their TestMain call goleak.VerifyTestMain", at, dir)
		}
	}
	for dir := range leaksUnchecked {
		if starts[dir] == "" || checked[dir] {
			t.Errorf("%s needs no exception from the check for goroutines: take it out", dir)
		}
	}
}

// section is what ARCHITECTURE.md has below a heading, up to the next one.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("ARCHITECTURE.md: no section %q", heading)
	}
	body, _, _ := strings.Cut(after, "\n## ")
	return body
}

// TestGoroutinesAreListed: each package that starts goroutines has an owner in the
// table of ARCHITECTURE.md, but for those whose goroutines are their callers' tests'
// and the module apart.
func TestGoroutinesAreListed(t *testing.T) {
	table := section(t, "Goroutines")
	tr := load(t)
	for _, s := range tr.files {
		pos := startsGoroutine(s.file)
		if s.test || !pos.IsValid() || below(s.dir, "bench/peers") || leaksUnchecked[s.dir] != "" {
			continue
		}
		if owner := "`" + s.file.Name.Name + "."; !strings.Contains(table, owner) {
			t.Errorf("%s: a goroutine of %s: the table in ARCHITECTURE.md has no owner %s…`", tr.at(pos), s.dir, owner)
		}
	}
}

var (
	stopRow     = regexp.MustCompile(`(?m)^\| ([1-9]) \|.*\| ([^|]*) \|$`)
	quoted      = regexp.MustCompile("`([a-z-]+)`")
	experiments = regexp.MustCompile(`for name in ([a-z -]+); do`)
)

// TestStopsAreMeasured: each of the nine stops of a produce request names an
// experiment or a counter of lane x that measures it, and one that exists.
func TestStopsAreMeasured(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := experiments.FindSubmatch(makefile)
	if m == nil {
		t.Fatal("Makefile: no list of the experiments")
	}
	known := strings.Fields(string(m[1]))
	for _, c := range replay.Metrics() {
		known = append(known, c.Name)
	}
	rows := stopRow.FindAllStringSubmatch(section(t, "One produce request, nine stops"), -1)
	if len(rows) != 9 {
		t.Fatalf("ARCHITECTURE.md: %d stops, want nine", len(rows))
	}
	for _, row := range rows {
		names := quoted.FindAllStringSubmatch(row[2], -1)
		if len(names) == 0 {
			t.Errorf("ARCHITECTURE.md: nothing measures stop %s", row[1])
		}
		for _, name := range names {
			if !slices.Contains(known, name[1]) {
				t.Errorf("ARCHITECTURE.md: stop %s is measured by %s, which is no experiment and no counter", row[1], name[1])
			}
		}
	}
}

// startsGoroutine gives the first go statement or call of a method Go, as of
// sync.WaitGroup.
func startsGoroutine(f *ast.File) (at token.Pos) {
	ast.Inspect(f, func(n ast.Node) bool {
		if at.IsValid() {
			return false
		}
		switch n := n.(type) {
		case *ast.GoStmt:
			at = n.Pos()
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
				at = n.Pos()
			}
		}
		return true
	})
	return at
}

// checksLeaks says whether a file has a TestMain and asks goleak for all that is
// left; a look at one test's goroutines is not enough.
func checksLeaks(f *ast.File) bool {
	main, asks := false, false
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			main = main || n.Name.Name == "TestMain"
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				break
			}
			id, ok := sel.X.(*ast.Ident)
			asks = asks || ok && id.Name == "goleak" && (sel.Sel.Name == "VerifyTestMain" || sel.Sel.Name == "Find")
		}
		return true
	})
	return main && asks
}
