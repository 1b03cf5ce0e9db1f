package build

import (
	"context"
	"fmt"
	"strings"
)

// Line is one commit of a history.
type Line struct {
	Commit
	Subject string
}

// History lists what came after base up to head along first parents, oldest first: a
// merge stands for all that it brought. base itself is not in it. Error: ErrTool;
// ErrNoRevision where head does not come after base.
func (r *Repo) History(ctx context.Context, base, head Commit) ([]Line, error) {
	if _, err := r.git(ctx, "merge-base", "--is-ancestor", base.Hash, head.Hash); err != nil {
		return nil, fmt.Errorf("%w: %s does not come before %s", ErrNoRevision, base.Short(), head.Short())
	}
	out, err := r.git(ctx, "log", "--first-parent", "--reverse", "--format=%H %s", base.Hash+".."+head.Hash)
	if err != nil {
		return nil, fmt.Errorf("%w: list commits: %w", ErrTool, err)
	}
	var lines []Line
	for text := range strings.Lines(out) {
		hash, subject, _ := strings.Cut(strings.TrimRight(text, "\n"), " ")
		lines = append(lines, Line{Commit{hash, hash}, subject})
	}
	return lines, nil
}
