package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"dyno/bench/draw"
	"dyno/bench/flame"
	"dyno/bench/record"
)

// readVerdict reads the verdict beside a result; nil where there is none.
func readVerdict(dir string) (*Verdict, error) {
	var v Verdict
	found, err := readJSON(filepath.Join(dir, VerdictFile), &v)
	switch {
	case err != nil || !found:
		return nil, err
	case v.Schema != verdictSchema:
		return nil, fmt.Errorf("%w: %s has the form %q, this program reads %s", record.ErrSchema, VerdictFile, v.Schema, verdictSchema)
	}
	return &v, nil
}

// attributionSection names the functions in which head takes more and, where the
// profiles still lie beside the result, draws both sides in one picture.
func attributionSection(v *Verdict, dir string) (section, error) {
	if v == nil || v.Attribution == nil {
		return section{}, nil
	}
	a := v.Attribution
	columns, rows, below := a.Table()
	s := section{ID: "where", Title: "Where head takes more CPU time", Words: append([]string{a.Headline() + "."}, below...),
		Tables: []draw.Table{{Title: "Functions that got slower", Head: columns, Rows: rows}}}
	base, head, err := attributedSides(v, dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, flame.ErrEmpty) {
		return s, nil
	}
	if err != nil {
		return section{}, err
	}
	f, err := flame.Difference("What a record costs, head against base", costUnit, base, head)
	s.Figures = []draw.Figure{f}
	return s, err
}

// attributedSides are the merged profiles of both sides. Error: fs.ErrNotExist where
// they do not lie beside the result, nor where its verdict says.
func attributedSides(v *Verdict, dir string) (base, head flame.Side, err error) {
	from, err := profilesOf(dir)
	if err != nil {
		return base, head, err
	}
	base, head = flame.Side{Name: "base", Cost: v.Attribution.Total.Base}, flame.Side{Name: "head", Cost: v.Attribution.Total.Head}
	for _, at := range []string{from, v.Attribution.Profiles} {
		if err = fs.ErrNotExist; at == "" {
			continue
		}
		if base.Profile, err = flame.Read(filepath.Join(at, baseProfile)); err == nil {
			head.Profile, err = flame.Read(filepath.Join(at, headProfile))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return base, head, err
}
