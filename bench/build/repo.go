package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Repo is a git repository with a Go module at its root.
type Repo struct{ root string }

// Commit is one commit of a Repo.
type Commit struct {
	Hash string // 40 hex digits
	Name string // as the caller named it
}

// Short is the name for people: what was asked for, and the hash where that says
// something else.
func (c Commit) Short() string {
	short := c.Hash[:min(10, len(c.Hash))]
	if strings.HasPrefix(c.Hash, c.Name) {
		return short
	}
	return fmt.Sprintf("%s (%s)", c.Name, short)
}

// Open finds the repository that dir lies in. Errors: ErrNoRepository, ErrTool.
func Open(ctx context.Context, dir string) (*Repo, error) {
	root, err := output(ctx, dir, environ(), "git", "rev-parse", "--show-toplevel")
	var said *toolError
	if errors.As(err, &said) {
		return nil, fmt.Errorf("%w: run this in a checkout of dyno (%v)", ErrNoRepository, said)
	}
	if err != nil {
		return nil, err
	}
	return &Repo{root: root}, nil
}

// git runs git in the repository. Hooks stay out: a worktree that is made for a
// measurement is nobody's checkout.
func (r *Repo) git(ctx context.Context, args ...string) (string, error) {
	return output(ctx, r.root, environ(), append([]string{"git", "-c", "core.hooksPath=/dev/null"}, args...)...)
}

// Resolve finds the commit that a revision names. A revision of a shallow clone
// may lie beyond what was fetched; the error then says how to get it. Errors:
// ErrNoRevision, ErrTool.
func (r *Repo) Resolve(ctx context.Context, rev string) (Commit, error) {
	if rev == "" || strings.HasPrefix(rev, "-") {
		return Commit{}, fmt.Errorf("%w: %q", ErrNoRevision, rev)
	}
	hash, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	var failed *toolError
	if err == nil {
		return Commit{Hash: hash, Name: rev}, nil
	} else if !errors.As(err, &failed) {
		return Commit{}, err
	}
	if shallow, serr := r.git(ctx, "rev-parse", "--is-shallow-repository"); serr == nil && shallow == "true" {
		return Commit{}, fmt.Errorf("%w: this clone is shallow and does not hold %s: run `git fetch --unshallow`, or in CI check out with fetch-depth: 0",
			ErrNoRevision, rev)
	}
	return Commit{}, fmt.Errorf("%w: this repository does not know %s: see `git log`, or `git fetch` it", ErrNoRevision, rev)
}

// File is a file of a commit, by its path from the root of the repository. Errors:
// fs.ErrNotExist, ErrTool.
func (r *Repo) File(ctx context.Context, c Commit, path string) ([]byte, error) {
	text, err := r.git(ctx, "show", c.Hash+":"+path)
	var failed *toolError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("%s in %s: %w", path, c.Short(), fs.ErrNotExist)
	}
	return []byte(text), err
}

// RequireClean refuses a tree that differs from its commit in what a build sees:
// tracked files, and files of source that git does not know. Errors: ErrDirty,
// ErrTool.
func (r *Repo) RequireClean(ctx context.Context) error {
	out, err := r.git(ctx, "status", "--porcelain", "--untracked-files=all")
	if err != nil {
		return fmt.Errorf("%w: git status: %w", ErrTool, err)
	}
	var changed []string
	for line := range strings.Lines(out) {
		if len(line) < 4 {
			continue
		}
		state, name := line[:2], strings.Trim(strings.TrimSpace(line[3:]), `"`)
		if isSource(name) || state != "??" && path.Ext(name) != ".jsonl" { // lists of results grow with each run, and are not built
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	more := ""
	if len(changed) > 3 {
		more = fmt.Sprintf(" and %d more", len(changed)-3)
		changed = changed[:3]
	}
	return fmt.Errorf("%w: %s%s: commit them, or name the commit to measure with --head (--head HEAD leaves them out)",
		ErrDirty, strings.Join(changed, ", "), more)
}

// isSource says whether a new file of that name would be compiled or change what is.
func isSource(name string) bool {
	switch path.Ext(name) {
	case ".go", ".s", ".mod", ".sum", ".tmpl":
		return true
	}
	return false
}
