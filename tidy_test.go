// Package dyno_test checks the tree as a whole: which package may import which,
// how long a function may be, and what may not stand in a file at all. What it
// finds is an error like any other, with file and line.
package dyno_test

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dyno/bench/record"
)

const module = "dyno/"

// imports is who may import whom inside the module, in code that is not a
// test. A name ending in /... stands for everything below. What is not here may
// import nothing of ours.
var imports = map[string][]string{
	"wal":                        {"wal/vfs"},
	"engine/events":              {"engine/ids"},
	"engine/replica":             {"engine/ids", "wal"},
	"engine/transport":           {"engine/ids"},
	"engine/transport/...":       {"engine/ids", "engine/transport"},
	"engine/admin":               {"engine/ids"},
	"engine/gossip":              {"engine/ids"},
	"engine/replica/replicatest": {"engine/ids", "engine/replica", "wal"},
	"engine/multiraft":           {"engine/ids", "engine/events", "engine/replica", "engine/transport", "wal"},
	"engine/partition":           {"engine/ids", "engine/replica"},
	"engine/store":               {"engine/ids", "wal/vfs"},
	"engine/metadata":            {"engine/ids", "engine/replica"},
	"engine/placement":           {"engine/ids"},
	"engine/variants":            {"engine/partition", "engine/replica", "wal"},
	"engine/kafka":               {"engine/ids", "engine/partition", "engine/replica"},
	"engine/enginetest":          {"engine", "engine/...", "wal", "wal/..."},
	"engine":                     {"engine/...", "wal", "wal/..."},
	"loadgen":                    {"bench/stats"},
	"bench":                      {"engine", "engine/...", "wal", "wal/...", "loadgen", "bench/..."},
	"bench/stats":                {},
	"bench/maxrate":              {},
	"bench/raftcell":             {"bench/cell"},
	"bench/gate":                 {"bench/stats", "bench/replay"},
	"bench/...":                  {"engine", "engine/...", "wal", "wal/...", "loadgen", "bench/..."},
	"cmd/dyno":                   {"engine", "engine/...", "wal", "wal/...", "loadgen", "bench", "bench/..."},
}

// never holds for tests too: from below the first, nothing below the others, but for
// what imports names in full.
var never = map[string][]string{
	"engine":  {"bench", "loadgen", "cmd"},
	"wal":     {"engine", "bench", "loadgen", "cmd"},
	"loadgen": {"engine", "wal", "bench", "cmd"},
	"bench":   {"cmd"},
}

// raftpbIn are the packages that may name Raft's wire types.
var raftpbIn = []string{"engine/replica", "engine/multiraft", "engine/transport"}

// judging is what turns measurements into statements: the same measurements and
// seed always give the same statement.
var judging = []string{"bench/stats", "bench/gate", "bench/maxrate"}

// clocks are what of package time looks at the time or lets it pass.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}

// core is what must be a function of its arguments alone.
var core = []string{"engine/replica", "engine/partition", "engine/placement", "engine/metadata"}

const (
	funcLinesMax = 70
	fileLinesMax = 600
	// ratchetMax is how many entries testdata/ratchet.txt may have. It only
	// ever goes down.
	ratchetMax = 0
)

// source is one Go file of the module.
type source struct {
	name string // path below the root
	dir  string
	test bool
	file *ast.File
	text []byte
}

// tree is every file that belongs to the project.
type tree struct {
	fset  *token.FileSet
	files []source // Go
	texts []string // all other files, below the root
}

// skipDirs are not ours to judge: what is built, local, or cached.
var skipDirs = []string{".git", ".cache", "bin", "results/local", "profiles/local"}

func load(t *testing.T) *tree {
	t.Helper()
	tr := &tree{fset: token.NewFileSet()}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if slices.Contains(skipDirs, name) {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			tr.texts = append(tr.texts, name)
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(tr.fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		tr.files = append(tr.files, source{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), file: f, text: text})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *tree) at(p token.Pos) string { return tr.fset.Position(p).String() }

// below says whether dir is root or stands under it.
func below(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

func matches(pkg string, list []string) bool {
	for _, l := range list {
		if root, all := strings.CutSuffix(l, "/..."); pkg == l || all && strings.HasPrefix(pkg, root+"/") {
			return true
		}
	}
	return false
}

func imported(s *ast.ImportSpec) string {
	p, err := strconv.Unquote(s.Path.Value)
	if err != nil {
		panic("BUG: import path that the parser took: " + s.Path.Value)
	}
	return p
}

// allowed gives what a package may import.
func allowed(dir string) []string {
	if list, ok := imports[dir]; ok {
		return list
	}
	for pattern, list := range imports {
		if root, all := strings.CutSuffix(pattern, "/..."); all && strings.HasPrefix(dir, root+"/") {
			return list
		}
	}
	return nil
}

func TestImports(t *testing.T) {
	tr := load(t)
	for _, s := range tr.files {
		if strings.HasPrefix(s.dir, "bench/peers") {
			continue // a module of its own
		}
		for _, i := range s.file.Imports {
			p := imported(i)
			if strings.HasSuffix(p, "/raftpb") && !slices.ContainsFunc(raftpbIn, func(root string) bool { return below(s.dir, root) }) {
				t.Errorf("%s: raftpb is for %s only", tr.at(i.Pos()), strings.Join(raftpbIn, ", "))
			}
			pkg, ours := strings.CutPrefix(p, module)
			if !ours || pkg == s.dir {
				continue
			}
			for root, list := range never {
				if below(s.dir, root) && !slices.Contains(imports[root], pkg) && slices.ContainsFunc(list, func(l string) bool { return below(pkg, l) }) {
					t.Errorf("%s: %s never imports %s", tr.at(i.Pos()), root, pkg)
				}
			}
			if !s.test && !matches(pkg, allowed(s.dir)) {
				t.Errorf("%s: %s may not import %s; see the table in tidy_test.go", tr.at(i.Pos()), s.dir, pkg)
			}
		}
	}
}

func TestPackageDocs(t *testing.T) {
	documented, first := make(map[string]bool), make(map[string]string)
	for _, s := range load(t).files {
		if s.test && s.dir != "." {
			continue
		}
		if first[s.dir] == "" {
			first[s.dir] = s.name
		}
		if s.file.Doc != nil && (strings.HasPrefix(s.file.Doc.Text(), "Package ") || strings.HasPrefix(s.file.Doc.Text(), "Command ")) {
			documented[s.dir] = true
		}
	}
	for dir, name := range first {
		if !documented[dir] {
			t.Errorf("%s: package %s has no doc that says what it is for", name, dir)
		}
	}
}

// TestSizes: long functions and files are listed in testdata/ratchet.txt with
// their length, and may only get shorter.
func TestSizes(t *testing.T) {
	listed := readRatchet(t)
	if len(listed) > ratchetMax {
		t.Errorf("testdata/ratchet.txt has %d entries, at most %d: it only shrinks", len(listed), ratchetMax)
	}
	tr := load(t)
	check := func(what, where string, lines, limit int) {
		was, ok := listed[what]
		delete(listed, what)
		switch {
		case !ok && lines > limit:
			t.Errorf("%s: %s has %d lines, the limit is %d", where, what, lines, limit)
		case ok && lines > was:
			t.Errorf("%s: %s grew from %d to %d lines", where, what, was, lines)
		case ok && lines < was:
			t.Errorf("%s: %s is down to %d lines: write that into testdata/ratchet.txt, or take it out at %d", where, what, lines, limit)
		}
	}
	for _, s := range tr.files {
		check(s.name, s.name, bytes.Count(s.text, []byte("\n")), fileLinesMax)
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				lines := tr.fset.Position(f.End()).Line - tr.fset.Position(f.Pos()).Line + 1
				check(s.name+":"+f.Name.Name, tr.at(f.Pos()), lines, funcLinesMax)
			}
		}
	}
	for what := range listed {
		t.Errorf("testdata/ratchet.txt: %s is gone, take it out", what)
	}
}

// readRatchet reads lines of "path[:function] lines".
func readRatchet(t *testing.T) map[string]int {
	t.Helper()
	b, err := os.ReadFile("testdata/ratchet.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]int)
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		line := sc.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var what string
		var n int
		if _, err := fmt.Sscan(line, &what, &n); err != nil {
			t.Fatalf("testdata/ratchet.txt: %q: %v", line, err)
		}
		listed[what] = n
	}
	return listed
}

// rule forbids calls and imports in some files.
type rule struct {
	why   string
	where func(s *source) bool
	calls func(pkg, name string) bool // pkg is the import path
	paths []string                    // imports
	gos   bool                        // go statements
}

var rules = []rule{
	{
		why:   "tests wait for events or use testing/synctest",
		where: func(s *source) bool { return s.test },
		calls: func(pkg, name string) bool { return pkg == "time" && name == "Sleep" },
	}, {
		why:   "core code gets time and chance as arguments, and starts or touches nothing",
		where: func(s *source) bool { return !s.test && slices.Contains(core, s.dir) },
		calls: func(pkg, name string) bool {
			return pkg == "time" && slices.Contains(clocks, name)
		},
		paths: []string{"math/rand", "math/rand/v2", "crypto/rand", "os", "net", "io/ioutil", "path/filepath"},
		gos:   true,
	}, {
		why:   "statistics and verdicts depend on their arguments alone, and draw from the seed they are given",
		where: func(s *source) bool { return !s.test && slices.Contains(judging, s.dir) },
		calls: func(pkg, name string) bool {
			return pkg == "math/rand/v2" && name != "New" && name != "NewPCG" && name != "Rand" || pkg == "time" && slices.Contains(clocks, name)
		},
		paths: []string{"math/rand", "crypto/rand", "os", "io", "net", "sync", "path/filepath"},
		gos:   true,
	}, {
		why:   "gonum checks our statistics in tests and does nothing else",
		where: func(s *source) bool { return !s.test },
		paths: []string{"gonum.org/v1/gonum/stat", "gonum.org/v1/gonum/stat/distuv", "gonum.org/v1/gonum/mat", "gonum.org/v1/gonum/floats"},
	}, {
		why:   "a browser looks at reports in tests and does nothing else",
		where: func(s *source) bool { return !s.test },
		paths: []string{"github.com/chromedp/chromedp", "github.com/chromedp/chromedp/kb", "github.com/chromedp/cdproto/cdp"},
	}, {
		why:   "only cmd prints and ends the process",
		where: func(s *source) bool { return !s.test && !below(s.dir, "cmd") && !below(s.dir, "bench/peers") },
		calls: func(pkg, name string) bool {
			return pkg == "fmt" && strings.HasPrefix(name, "Print") || pkg == "os" && name == "Exit"
		},
	}, {
		why:   "only cmd has flags and signals",
		where: func(s *source) bool { return !s.test && !below(s.dir, "cmd") && !below(s.dir, "bench/peers") },
		paths: []string{"flag", "os/signal", "github.com/spf13/cobra"},
	}, {
		why:   "use the types of sync/atomic",
		where: func(*source) bool { return true },
		calls: func(pkg, name string) bool {
			return pkg == "sync/atomic" && rawAtomic.MatchString(name)
		},
	},
}

var rawAtomic = regexp.MustCompile(`^(Add|Load|Store|Swap|CompareAndSwap|And|Or)(Int|Uint|Pointer)`)

func TestForbiddenCalls(t *testing.T) {
	tr := load(t)
	for i := range tr.files {
		for _, r := range rules {
			if r.where(&tr.files[i]) {
				r.check(t, tr, &tr.files[i])
			}
		}
	}
}

func (r *rule) check(t *testing.T, tr *tree, s *source) {
	names := make(map[string]string) // local name -> import path
	for _, i := range s.file.Imports {
		p := imported(i)
		names[importName(i, p)] = p
		if slices.Contains(r.paths, p) {
			t.Errorf("%s: imports %s: %s", tr.at(i.Pos()), p, r.why)
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if r.gos {
				t.Errorf("%s: go statement: %s", tr.at(n.Pos()), r.why)
			}
		case *ast.SelectorExpr:
			// An identifier with an object is a variable that hides the import.
			if id, ok := n.X.(*ast.Ident); ok && r.calls != nil && id.Obj == nil && r.calls(names[id.Name], n.Sel.Name) {
				t.Errorf("%s: %s.%s: %s", tr.at(n.Pos()), id.Name, n.Sel.Name, r.why)
			}
		}
		return true
	})
}

func importName(i *ast.ImportSpec, p string) string {
	if i.Name != nil {
		return i.Name.Name
	}
	if base := path.Base(p); !regexp.MustCompile(`^v[0-9]+$`).MatchString(base) {
		return base
	}
	return path.Base(path.Dir(p))
}

// The patterns are put together so that this file does not match them.
var (
	unfinished  = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
	machinePath = regexp.MustCompile(`(^|[\s"'` + "`" + `=(:,])/(work|root|home|tmp|Users)/[\w.]`)
)

// TestTexts: no file of ours speaks of the machine it was written on or of what
// was left undone.
func TestTexts(t *testing.T) {
	tr := load(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	hostName := regexp.MustCompile(`\b` + regexp.QuoteMeta(host) + `\b`)
	check := func(name string, text []byte) {
		if bytes.IndexByte(text, 0) >= 0 {
			return // binary
		}
		for n, line := range bytes.Split(text, []byte("\n")) {
			if m := machinePath.Find(line); m != nil {
				t.Errorf("%s:%d: path of a machine: %q", name, n+1, m)
			}
			if m := unfinished.Find(line); m != nil {
				t.Errorf("%s:%d: %s: finish it, or file it elsewhere", name, n+1, m)
			}
			if tellsHost(host) && hostName.Match(line) {
				t.Errorf("%s:%d: name of this host", name, n+1)
			}
		}
	}
	for _, s := range tr.files {
		check(s.name, s.text)
	}
	for _, name := range tr.texts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		check(name, text)
	}
}

// tellsHost says whether a host name is one that a text would not have anyway.
func tellsHost(host string) bool {
	return len(host) >= 4 && !slices.Contains([]string{"localhost", "debian", "ubuntu", "linux", "docker", "machine", "host", "node", "broker"}, host)
}

// TestResults: every committed result says what it measured in a manifest that
// this dyno reads.
func TestResults(t *testing.T) {
	runs, err := filepath.Glob("results/*.*-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range runs {
		if _, err := record.Open(dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):(.*)$`)
	makeUse    = regexp.MustCompile("`make ([a-z][a-z-]*)")
)

// TestMakefile: every target has its line of help, and the texts name no target
// that is not there.
func TestMakefile(t *testing.T) {
	b, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := make(map[string]bool)
	for _, m := range makeTarget.FindAllStringSubmatch(string(b), -1) {
		targets[m[1]] = true
		if !strings.Contains(m[2], "## ") {
			t.Errorf("Makefile: %s has no help", m[1])
		}
	}
	for _, want := range []string{"build", "test", "race", "lint", "bench", "help"} {
		if !targets[want] {
			t.Errorf("Makefile: no target %s", want)
		}
	}
	for _, name := range []string{"README.md", "ARCHITECTURE.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range makeUse.FindAllStringSubmatch(string(text), -1) {
			if !targets[m[1]] {
				t.Errorf("%s: make %s is no target", name, m[1])
			}
		}
	}
}
