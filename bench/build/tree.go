package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Builder makes programs in a directory of its own. It is used by one goroutine.
type Builder struct {
	repo      *Repo
	dir       string // absolute, symbolic links resolved: as git writes it
	pkg       string // to build, such as ./cmd/dyno
	toolchain string // the one that builds all commits
	trees     []*Tree
}

// Tree is a commit laid out as files.
type Tree struct {
	Commit Commit
	b      *Builder
	path   string
	tags   string   // for the build
	sets   []string // "package.variable=value", for the linker
}

// Vary builds the tree from now on with build tags, and with string variables set by
// the linker, each as "package.variable=value".
func (t *Tree) Vary(tags string, sets ...string) { t.tags, t.sets = tags, sets }

// NewBuilder takes dir, which exists and is the caller's alone, to build package
// pkg of commits of repo. Worktrees below dir that a builder which died left in
// the repository are removed first. Errors: ErrTool.
func NewBuilder(ctx context.Context, repo *Repo, dir, pkg string) (*Builder, error) {
	b := &Builder{repo: repo, pkg: pkg}
	var err error
	if b.dir, err = filepath.Abs(dir); err == nil {
		b.dir, err = filepath.EvalSymlinks(b.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTool, err)
	}
	if err := b.sweep(ctx); err != nil {
		return nil, err
	}
	// What the repository's own go.mod asks for builds both sides: a commit that
	// names another toolchain would be measured with another compiler.
	if b.toolchain, err = output(ctx, repo.root, environ(), "go", "env", "GOVERSION"); err != nil {
		return nil, fmt.Errorf("%w: go env: %w", ErrTool, err)
	}
	return b, nil
}

// Toolchain is the version of Go that builds, such as go1.26.0.
func (b *Builder) Toolchain() string { return b.toolchain }

// sweep removes every worktree below the builder's directory, be it there or not.
func (b *Builder) sweep(ctx context.Context) error {
	list, err := b.repo.git(ctx, "worktree", "list", "--porcelain")
	if err != nil {
		return fmt.Errorf("%w: list worktrees: %w", ErrTool, err)
	}
	var errs []error
	for line := range strings.Lines(list) {
		path, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "worktree ")
		if ok && strings.HasPrefix(path, b.dir+string(filepath.Separator)) {
			errs = append(errs, b.remove(ctx, path))
		}
	}
	return errors.Join(errs...)
}

// remove takes one worktree away. Forced twice: one that was being made when its
// builder died is locked (git-worktree(1)).
func (b *Builder) remove(ctx context.Context, path string) error {
	if _, err := b.repo.git(ctx, "worktree", "remove", "--force", "--force", path); err != nil {
		return fmt.Errorf("%w: remove a worktree: %w", ErrTool, err)
	}
	return os.RemoveAll(path)
}

// sidesMax keeps the names of worktrees at one digit, and so at one length.
const sidesMax = 9

// Checkout lays a commit out. All trees of a builder have paths of one length.
// Errors: ErrTool.
func (b *Builder) Checkout(ctx context.Context, c Commit) (*Tree, error) {
	if len(b.trees) == sidesMax {
		panic(fmt.Sprintf("BUG: more than %d trees of one builder", sidesMax))
	}
	t := &Tree{Commit: c, b: b, path: filepath.Join(b.dir, "tree"+strconv.Itoa(len(b.trees)+1))}
	b.trees = append(b.trees, t) // before it is made: what is half made is removed too
	if _, err := b.repo.git(ctx, "worktree", "add", "--detach", "--force", t.path, c.Hash); err != nil {
		return nil, fmt.Errorf("%w: check out %s: %w", ErrTool, c.Short(), err)
	}
	return t, nil
}

// Link builds the tree's program into the file out, with functions laid out in the
// order that layout draws; 0 leaves them where the linker puts them. Compiled
// packages come from Go's cache, so a second link costs seconds. Debug information
// is left out: no instruction depends on it. The linker seldom collects its garbage,
// for a comparison links two programs a block. Errors: ErrBuild, with what the
// compiler said first.
func (t *Tree) Link(ctx context.Context, layout uint32, out string) error {
	flags := "-w -buildid="
	if layout != 0 {
		flags += " -randlayout=" + strconv.FormatUint(uint64(layout), 10)
	}
	for _, set := range t.sets {
		flags += " -X " + set
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTool, err)
	}
	_, err = output(ctx, t.path, environ("GOWORK=off", "GOGC=400", "GOTOOLCHAIN="+t.b.toolchain),
		"go", "build", "-trimpath", "-buildvcs=false", "-tags="+t.tags, "-ldflags="+flags, "-o", out, t.b.pkg)
	var failed *toolError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s %w: %w", t.Commit.Short(), ErrBuild, failed)
	}
	return err
}

// closeWait bounds the removal of worktrees.
const closeWait = 30 * time.Second

// Close removes all trees from disk and repository; programs that were linked
// elsewhere stay. It works also when the context of the build has ended.
func (b *Builder) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	err := b.sweep(ctx)
	for _, t := range b.trees {
		err = errors.Join(err, os.RemoveAll(t.path)) // one that git has not written down yet
	}
	b.trees = nil
	return err
}
