package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"dyno/bench/draw"
	"dyno/bench/flame"
	"dyno/bench/record"
)

// cpuProfile is the CPU profile among the files of profileParts.
const cpuProfile = "cpu.pprof"

// profilesOf is where the profiles of the result in dir would lie: what is below
// results has its profiles below profiles, under the same names.
func profilesOf(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	parts := strings.Split(abs, string(filepath.Separator))
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i] == "results" {
			parts[i] = "profiles"
			return strings.Join(parts, string(filepath.Separator)), nil
		}
	}
	return "", nil
}

// side is the CPU profile of a result; ok is false where there is none.
func side(run *record.Run, dir string) (_ flame.Side, ok bool, _ error) {
	from, err := profilesOf(dir)
	if err != nil || from == "" {
		return flame.Side{}, false, err
	}
	p, err := flame.Read(filepath.Join(from, cpuProfile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, flame.ErrEmpty) {
		return flame.Side{}, false, nil
	}
	return flame.Side{Name: run.ID, Profile: p, Cost: median(run, armSaturate, "broker_cpu")}, err == nil, err
}

const (
	costUnit = "CPU-s per million records"
	costWord = "The profile is that of one broker in a run of its own, whose figures are not quoted; all of it stands for what the brokers of the saturating repetitions took per million records."
)

// profileSection is the CPU profile as an icicle, where there is one.
func profileSection(run *record.Run, dir string) (section, error) {
	s := section{ID: "profile", Title: "Where the CPU time went", Words: []string{costWord}}
	head, ok, err := side(run, dir)
	if err != nil || !ok {
		return section{}, err
	}
	f, err := flame.Figure("CPU profile", costUnit, head)
	s.Figures = []draw.Figure{f}
	return s, err
}

// against adds what differs from another result.
func (p *page) against(dir, other string) error {
	then, err := record.Open(other)
	if err != nil {
		return fmt.Errorf("against: %w", err)
	}
	s := section{ID: "against", Title: "Against " + then.ID, Words: []string{
		fmt.Sprintf("That one is of commit %.12s, this one of %.12s. One result against another: two of the same commit differ too.", then.Commit.Hash, p.Run.Commit.Hash),
	}}
	if then.Environment.Fingerprint != p.Run.Environment.Fingerprint {
		s.Words = append(s.Words, "They are of different machines, so their figures cannot be compared.")
	}
	s.Words = append(s.Words, p.Run.Environment.Cautions(&then.Environment)...)
	s.Tables = []draw.Table{
		differences("Environment", then.ID, p.Run.ID, factRows(&then.Environment), p.Facts),
		differences("Configuration", then.ID, p.Run.ID, configRows(then.Config), p.Config),
	}
	base, ok, err := side(then, other)
	if err != nil {
		return err
	}
	head, also, err := side(p.Run, dir)
	if err != nil {
		return err
	}
	if ok && also {
		f, err := flame.Difference("What a record costs, "+then.ID+" against "+p.Run.ID, costUnit, base, head)
		if err != nil {
			return err
		}
		s.Figures = []draw.Figure{f}
	}
	p.Sections = append([]section{s}, p.Sections...)
	return nil
}

// differences is a table of what two lists of names and values do not have in common.
func differences(title, was, is string, then, now [][2]string) draw.Table {
	t := draw.Table{Title: title, Head: []string{"", was, is}}
	old := map[string]string{}
	for _, r := range then {
		old[r[0]] = r[1]
	}
	same := 0
	for _, r := range now {
		before, ok := old[r[0]]
		delete(old, r[0])
		switch {
		case !ok:
			t.Rows = append(t.Rows, []string{r[0], "-", r[1]})
		case before != r[1]:
			t.Rows = append(t.Rows, []string{r[0], before, r[1]})
		default:
			same++
		}
	}
	for _, r := range then {
		if before, left := old[r[0]]; left {
			t.Rows = append(t.Rows, []string{r[0], before, "-"})
		}
	}
	t.Title = fmt.Sprintf("%s: %d alike, %d not", title, same, len(t.Rows))
	return t
}
