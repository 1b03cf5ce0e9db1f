package bisect

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"testing"
)

// line is a judge of commits of which those from first on are bad.
func line(first int, odd map[int]Answer) Judge {
	return func(_ context.Context, n, effort int) (Answer, error) {
		if a, ok := odd[n]; ok && !(a == Unclear && effort > 0) {
			return a, nil
		}
		if n >= first {
			return Bad, nil
		}
		return Good, nil
	}
}

func TestFindsTheFirstBad(t *testing.T) {
	for n := 1; n <= 40; n++ {
		for first := range n {
			r, err := Search(t.Context(), n, line(first, nil))
			if err != nil || !r.Found() || r.Candidates[0] != first {
				t.Fatalf("%d commits, %d is the first bad: %+v, %v", n, first, r, err)
			}
			if most := bits.Len(uint(n)); len(r.Steps) > most {
				t.Errorf("%d commits took %d steps, want at most %d", n, len(r.Steps), most)
			}
			if slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Commit == n-1 }) {
				t.Errorf("%d commits: the last, known to be bad, was judged again", n)
			}
		}
	}
}

// Commits that cannot be judged widen the answer only where they hide it.
func TestSkips(t *testing.T) {
	for _, c := range []struct {
		first int
		odd   map[int]Answer
		want  []int
	}{
		{7, map[int]Answer{4: Skip, 5: Skip}, []int{7}},
		{7, map[int]Answer{6: Skip}, []int{6, 7}},
		{7, map[int]Answer{5: Skip, 6: Skip, 8: Skip}, []int{5, 6, 7}},
		{7, map[int]Answer{7: Skip, 6: Skip}, []int{6, 7, 8}},
		{0, map[int]Answer{0: Skip}, []int{0, 1}},
		{9, map[int]Answer{0: Skip, 1: Skip, 2: Skip, 3: Skip, 4: Skip, 5: Skip, 6: Skip, 7: Skip, 8: Skip}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
	} {
		r, err := Search(t.Context(), 10, line(c.first, c.odd))
		if err != nil || !slices.Equal(r.Candidates, c.want) {
			t.Errorf("first bad %d, %v: candidates %v, %v, want %v", c.first, c.odd, r.Candidates, err, c.want)
		}
	}
}

// An unclear commit is judged with twice the effort, so often, and then skipped.
func TestEffortIsDoubled(t *testing.T) {
	r, err := Search(t.Context(), 4, line(2, map[int]Answer{1: Unclear}))
	if err != nil || !r.Found() || r.Candidates[0] != 2 || !slices.Contains(r.Steps, Step{1, 0, Unclear}) || !slices.Contains(r.Steps, Step{1, 1, Good}) {
		t.Errorf("%+v, %v", r, err)
	}
	asked := 0
	r, err = Search(t.Context(), 4, func(_ context.Context, n, effort int) (Answer, error) {
		if n == 1 {
			if asked++; effort != asked-1 {
				t.Errorf("question %d with effort %d", asked, effort)
			}
			return Unclear, nil
		}
		return line(2, nil)(t.Context(), n, effort)
	})
	if err != nil || asked != EffortMax+1 || !slices.Equal(r.Candidates, []int{1, 2}) {
		t.Errorf("asked %d times: %+v, %v", asked, r, err)
	}
}

func TestEndsWithAnError(t *testing.T) {
	if _, err := Search(t.Context(), 0, nil); !errors.Is(err, ErrLine) {
		t.Errorf("no commits: %v", err)
	}
	broken := errors.New("no disk")
	if _, err := Search(t.Context(), 9, func(context.Context, int, int) (Answer, error) { return Good, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Search(ctx, 9, func(context.Context, int, int) (Answer, error) { cancel(); return Good, nil })
	if !errors.Is(err, context.Canceled) || len(r.Steps) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
