package dyno_test

import (
	"go/ast"
	"go/build/constraint"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
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
