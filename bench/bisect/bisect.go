// Package bisect finds the first bad one of a line of commits, when a judge may be
// unable to say and an answer may cost minutes.
//
// It knows no commit and measures nothing: commits are numbers, a Judge answers.
//
// Invariants: every answer that is used was given by the judge; a commit that could
// not be judged is named among the candidates and never taken for good or bad.
package bisect

import (
	"context"
	"errors"
	"fmt"
)

// Answer is what a judge says of a commit.
type Answer int

const (
	Good Answer = iota
	Bad
	Unclear // with this effort; more may help
	Skip    // it cannot be judged: it does not build, for instance
)

func (a Answer) String() string { return [...]string{"good", "bad", "unclear", "skipped"}[a] }

// EffortMax is how often the effort is doubled for a commit that stays unclear.
const EffortMax = 2

// Judge answers for commit n, from 0, with 2^effort times the usual effort. It may
// block. An error ends the search.
type Judge func(ctx context.Context, n, effort int) (Answer, error)

// ErrLine means that there is nothing to search in.
var ErrLine = errors.New("no commits to search")

// Step is one answer.
type Step struct {
	Commit int
	Effort int
	Answer Answer
}

// Result is what a search found. Candidates has the first bad commit: it alone, or
// also those before it that could not be judged, oldest first.
type Result struct {
	Candidates []int
	Steps      []Step
}

// Found says whether the first bad commit is known.
func (r *Result) Found() bool { return len(r.Candidates) == 1 }

// Search looks for the first bad of n commits in order, of which the last is known to
// be bad and the one before the first to be good: as git bisect does, by halves. Next
// to a commit that cannot be judged it tries the nearest one that was not tried yet.
// With an error it returns the steps so far. Errors: ErrLine, the judge's, ctx's.
func Search(ctx context.Context, n int, judge Judge) (*Result, error) {
	r := &Result{}
	if n < 1 {
		return r, ErrLine
	}
	good, bad := -1, n-1
	skipped := make([]bool, n)
	for {
		next := nearest(good, bad, skipped)
		if next < 0 {
			break
		}
		a, err := r.ask(ctx, next, judge)
		if err != nil {
			return r, err
		}
		switch a {
		case Good:
			good = next
		case Bad:
			bad = next
		default:
			skipped[next] = true
		}
	}
	for i := good + 1; i <= bad; i++ {
		r.Candidates = append(r.Candidates, i)
	}
	return r, nil
}

// nearest is the commit strictly between good and bad that halves them best and was
// not skipped; -1 if there is none.
func nearest(good, bad int, skipped []bool) int {
	middle, best := (good+bad)/2, -1
	for i := good + 1; i < bad; i++ {
		if !skipped[i] && (best < 0 || distance(i, middle) < distance(best, middle)) {
			best = i
		}
	}
	return best
}

func distance(a, b int) int { return max(a-b, b-a) }

// ask insists on an answer for one commit and keeps the steps.
func (r *Result) ask(ctx context.Context, n int, judge Judge) (Answer, error) {
	return Insist(ctx, func(ctx context.Context, effort int) (Answer, error) {
		a, err := judge(ctx, n, effort)
		if err != nil {
			return a, fmt.Errorf("judge commit %d: %w", n+1, err)
		}
		r.Steps = append(r.Steps, Step{n, effort, a})
		return a, nil
	})
}

// Insist asks with effort 0, 1 and so on until the answer is not Unclear, or the effort
// was EffortMax. Errors: the judge's, ctx's.
func Insist(ctx context.Context, judge func(ctx context.Context, effort int) (Answer, error)) (Answer, error) {
	for effort := 0; ; effort++ {
		if err := ctx.Err(); err != nil {
			return Skip, err
		}
		if a, err := judge(ctx, effort); err != nil || a != Unclear || effort == EffortMax {
			return a, err
		}
	}
}
