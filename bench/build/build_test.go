package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toy is a repository with a module of one package.
type toy struct {
	t   *testing.T
	dir string
}

const toyMain = `package main

var table = [...]int{3, 1, 2}

//go:noinline
func work(n int) int {
	sum := 0
	for _, v := range table {
		sum += v * n
	}
	return sum
}

func main() { println(work(5)) }
`

func newToy(t *testing.T) *toy {
	t.Helper()
	r := &toy{t: t, dir: t.TempDir()}
	r.git("init", "--quiet")
	r.write("go.mod", "module toy\n\ngo 1.26\n")
	r.commit("base", toyMain)
	return r
}

func (r *toy) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *toy) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits main.go and gives it a tag.
func (r *toy) commit(tag, main string) {
	r.t.Helper()
	r.write("cmd/toy/main.go", main)
	r.git("add", "--all")
	r.git("commit", "--quiet", "-m", tag)
	r.git("tag", tag)
}

func (r *toy) open() *Repo {
	r.t.Helper()
	repo, err := Open(r.t.Context(), r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	return repo
}

func (r *toy) builder(dir string) *Builder {
	r.t.Helper()
	b, err := NewBuilder(r.t.Context(), r.open(), dir, "./cmd/toy")
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *toy) resolve(rev string) Commit {
	r.t.Helper()
	c, err := r.open().Resolve(r.t.Context(), rev)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// worktrees counts those beside the repository itself.
func (r *toy) worktrees() int {
	return strings.Count(r.git("worktree", "list", "--porcelain")+"\n", "worktree ") - 1
}

// nothingLeft fails the test if a builder left a worktree or a file of one.
func (r *toy) nothingLeft(dir string) {
	r.t.Helper()
	if n := r.worktrees(); n != 0 {
		r.t.Errorf("%d worktrees left", n)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "tree*"))
	admin, _ := filepath.Glob(filepath.Join(r.dir, ".git", "worktrees", "*"))
	if len(left)+len(admin) > 0 {
		r.t.Errorf("left behind: %v %v", left, admin)
	}
}

// link builds a revision into a file.
func link(t *testing.T, b *Builder, c Commit, layout uint32, out string) {
	t.Helper()
	tree, err := b.Checkout(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Link(t.Context(), layout, out); err != nil {
		t.Fatal(err)
	}
}

func TestIdentity(t *testing.T) {
	r := newToy(t)
	r.commit("comment", "// What this is for.\n"+strings.ReplaceAll(toyMain, "\tsum := 0\n", "\t// Nothing yet,\n\t// and more words.\n\tsum := 0 // so far\n"))
	r.commit("constant", strings.ReplaceAll(toyMain, "work(5)", "work(7)"))
	r.commit("data", strings.ReplaceAll(toyMain, "{3, 1, 2}", "{3, 1, 4}"))
	r.commit("renamed", strings.ReplaceAll(toyMain, "work", "wurk"))
	dir := t.TempDir()
	b := r.builder(dir)
	bin := func(name string) string { return filepath.Join(dir, "bin-"+name) }
	for _, rev := range []string{"base", "comment", "constant", "data", "renamed"} {
		link(t, b, r.resolve(rev), 0, bin(rev))
	}
	for _, c := range []struct {
		rev  string
		same bool
		word string
	}{
		{"base", true, ""}, {"comment", true, ""}, {"constant", false, ".text"}, {"data", false, "data"}, {"renamed", false, "symbol"},
	} {
		same, why, err := Identical(bin("base"), bin(c.rev))
		if err != nil || same != c.same || !strings.Contains(why, c.word) {
			t.Errorf("base against %s: %v, %q, %v", c.rev, same, why, err)
		}
	}
	if _, _, err := Identical(bin("base"), filepath.Join(r.dir, "go.mod")); err == nil {
		t.Error("a file that is no program was compared")
	}
	out, err := exec.Command(bin("comment")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "30" {
		t.Errorf("the program says %q, %v", out, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	r.nothingLeft(dir)
}

func TestLayoutFollowsItsSeed(t *testing.T) {
	r := newToy(t)
	dir := t.TempDir()
	b := r.builder(dir)
	defer b.Close()
	sum := map[string][32]byte{}
	for name, layout := range map[string]uint32{"plain": 0, "seven": 7, "again": 7, "eight": 8} {
		link(t, b, r.resolve("base"), layout, filepath.Join(dir, name))
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum[name] = sha256.Sum256(raw)
	}
	if sum["seven"] != sum["again"] {
		t.Error("one seed, two trees, two programs")
	}
	if sum["seven"] == sum["eight"] || sum["seven"] == sum["plain"] {
		t.Error("another seed made the same program")
	}
}

// Both trees lie at paths of one length, and a hook of the repository is not run.
func TestCheckoutIsPlain(t *testing.T) {
	r := newToy(t)
	r.commit("next", toyMain+"\n")
	r.write(".git/hooks/post-checkout", "#!/bin/sh\ntouch hooked\n")
	if err := os.Chmod(filepath.Join(r.dir, ".git/hooks/post-checkout"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "elsewhere")) // as in a hook of another repository
	dir := t.TempDir()
	b := r.builder(dir)
	var paths []string
	for _, rev := range []string{"base", "next"} {
		c, err := b.repo.Resolve(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := b.Checkout(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, tree.path)
		if _, err := os.Stat(filepath.Join(tree.path, "hooked")); err == nil {
			t.Error("a hook ran")
		}
	}
	if len(paths[0]) != len(paths[1]) || paths[0] == paths[1] {
		t.Errorf("paths %q", paths)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	os.Unsetenv("GIT_DIR")
	r.nothingLeft(dir)
}

func TestWhatDoesNotBuildIsNamed(t *testing.T) {
	r := newToy(t)
	r.commit("broken", strings.ReplaceAll(toyMain, "sum := 0", "sum := nought"))
	dir := t.TempDir()
	b := r.builder(dir)
	tree, err := b.Checkout(t.Context(), r.resolve("broken"))
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Link(t.Context(), 0, filepath.Join(dir, "out"))
	if !errors.Is(err, ErrBuild) || !strings.Contains(err.Error(), "nought") || !strings.Contains(err.Error(), "broken (") {
		t.Errorf("got %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	r.nothingLeft(dir)
}

// A builder that died leaves its worktrees in the repository's list: whole, half
// made and locked, or with the files gone. The next one takes all of them away, and
// leaves those of others.
func TestWhatACrashLeftIsSwept(t *testing.T) {
	r := newToy(t)
	dir, others := t.TempDir(), filepath.Join(t.TempDir(), "mine")
	r.git("worktree", "add", "--detach", "--quiet", others)
	b := r.builder(dir)
	for range 3 {
		if _, err := b.Checkout(t.Context(), r.resolve("base")); err != nil {
			t.Fatal(err)
		}
	}
	r.git("worktree", "lock", b.trees[1].path)
	if err := os.RemoveAll(b.trees[2].path); err != nil {
		t.Fatal(err)
	}
	next := r.builder(dir)
	if n := r.worktrees(); n != 1 {
		t.Errorf("%d worktrees, want the one of somebody else", n)
	}
	if _, err := os.Stat(filepath.Join(others, "go.mod")); err != nil {
		t.Errorf("somebody else's worktree: %v", err)
	}
	if _, err := next.Checkout(t.Context(), r.resolve("base")); err != nil {
		t.Errorf("no room for the next builder: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	r.git("worktree", "remove", others)
	r.nothingLeft(dir)
}

func TestInterruptionLeavesNothing(t *testing.T) {
	r := newToy(t)
	dir := t.TempDir()
	b := r.builder(dir)
	tree, err := b.Checkout(t.Context(), r.resolve("base"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Checkout(ctx, r.resolve("base")); !errors.Is(err, context.Canceled) {
		t.Errorf("checkout: %v", err)
	}
	if err := tree.Link(ctx, 0, filepath.Join(dir, "out")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBuild) {
		t.Errorf("link: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	r.nothingLeft(dir)
}

func TestRevisionsThatAreNotThere(t *testing.T) {
	if _, err := Open(t.Context(), t.TempDir()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("no repository: %v", err)
	}
	r := newToy(t)
	r.commit("next", toyMain+"\n")
	for _, rev := range []string{"", "nobody", "--all", "HEAD~9"} {
		if _, err := r.open().Resolve(t.Context(), rev); !errors.Is(err, ErrNoRevision) || strings.Contains(err.Error(), "shallow") {
			t.Errorf("%q: %v", rev, err)
		}
	}
	shallow := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", "--depth", "1", "file://"+r.dir, shallow)
	repo, err := Open(t.Context(), shallow)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Resolve(t.Context(), "HEAD~1"); !errors.Is(err, ErrNoRevision) || !strings.Contains(err.Error(), "--unshallow") {
		t.Errorf("beyond a shallow clone: %v", err)
	}
	if _, err := repo.Resolve(t.Context(), "HEAD"); err != nil {
		t.Errorf("what a shallow clone holds: %v", err)
	}
	c := r.resolve("next")
	if len(c.Hash) != 40 || c.Short() != "next ("+c.Hash[:10]+")" || (Commit{Hash: c.Hash, Name: c.Hash[:12]}).Short() != c.Hash[:10] {
		t.Errorf("%+v is %q", c, c.Short())
	}
}

func TestDirtyTreesAreRefused(t *testing.T) {
	r := newToy(t)
	repo := r.open()
	if err := repo.RequireClean(t.Context()); err != nil {
		t.Errorf("a clean tree: %v", err)
	}
	r.write("notes.txt", "mine")
	if err := repo.RequireClean(t.Context()); err != nil {
		t.Errorf("a file that is no source: %v", err)
	}
	r.write("cmd/toy/new.go", "package main\n")
	if err := repo.RequireClean(t.Context()); !errors.Is(err, ErrDirty) || !strings.Contains(err.Error(), "new.go") || !strings.Contains(err.Error(), "--head") {
		t.Errorf("a new source file: %v", err)
	}
	r.git("add", "--all")
	r.git("commit", "--quiet", "-m", "more")
	r.write("results.jsonl", "{}\n")
	r.git("add", "--all")
	r.git("commit", "--quiet", "-m", "a list")
	r.write("results.jsonl", "{}\n{}\n")
	if err := repo.RequireClean(t.Context()); err != nil {
		t.Errorf("a list that grew: %v", err)
	}
	r.write("go.mod", "module toy\n\ngo 1.26\n\n// changed\n")
	if err := repo.RequireClean(t.Context()); !errors.Is(err, ErrDirty) || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("a changed file: %v", err)
	}
}
