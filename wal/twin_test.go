package wal_test

import (
	"fmt"
	"maps"
	"slices"

	"dyno/wal"
)

// twin is the log as a dumb map: what every test compares the real one with.
type twin map[uint64]*twinStream

type twinEntry struct {
	typ  uint8
	term uint64
	data string
}

type twinStream struct {
	first    uint64
	entries  []twinEntry // first, first+1, ...
	prevTerm uint64
	state    wal.State
}

func (s *twinStream) last() uint64 { return s.first + uint64(len(s.entries)) - 1 }

func (t twin) clone() twin {
	c := twin{}
	for id, s := range t {
		n := *s
		n.entries = slices.Clone(s.entries)
		c[id] = &n
	}
	return c
}

func (t twin) stream(id uint64) *twinStream {
	if t[id] == nil {
		t[id] = &twinStream{first: 1}
	}
	return t[id]
}

func (t twin) apply(r wal.Record) {
	if r.Kind == wal.KindRemove {
		delete(t, r.Stream)
		return
	}
	s := t.stream(r.Stream)
	switch r.Kind {
	case wal.KindEntry:
		s.entries = append(s.entries[:r.Index-s.first:r.Index-s.first], twinEntry{r.Type, r.Term, string(r.Data)})
	case wal.KindState:
		s.state = wal.State{Term: r.Term, Vote: r.Vote, Commit: r.Index}
	case wal.KindTruncateAfter:
		if r.Index < s.last() {
			s.entries = s.entries[:r.Index+1-s.first]
		}
	case wal.KindTruncateBefore:
		switch {
		case r.Index < s.first:
			return
		case r.Index > s.last():
			s.entries = nil
		default:
			s.entries = s.entries[r.Index-s.first:]
		}
		s.first, s.prevTerm = r.Index, r.Term
	}
}

// termOf is the term of an entry, or of the one before the first.
func (t twin) termOf(id, index uint64) uint64 {
	s := t[id]
	switch {
	case s == nil:
		return 0
	case index < s.first:
		return s.prevTerm
	default:
		return s.entries[index-s.first].term
	}
}

func (s *twinStream) info() wal.Info {
	in := wal.Info{First: s.first, Last: s.last(), LastTerm: s.prevTerm, PrevTerm: s.prevTerm, State: s.state}
	if n := len(s.entries); n > 0 {
		in.LastTerm = s.entries[n-1].term
	}
	return in
}

// twinOf reads a whole log.
func twinOf(l *wal.Log) (twin, error) {
	t := twin{}
	for _, id := range l.Streams() {
		in, ok := l.Info(id)
		if !ok {
			return nil, fmt.Errorf("stream %d is listed but unknown", id)
		}
		s := t.stream(id)
		s.first, s.prevTerm, s.state = in.First, in.PrevTerm, in.State
		for at := in.First; at <= in.Last; {
			rs, err := l.Read(id, at, in.Last+1, 8<<10)
			if err != nil {
				return nil, err
			}
			if len(rs) == 0 {
				return nil, fmt.Errorf("stream %d: nothing at %d, but its last entry is %d", id, at, in.Last)
			}
			for _, r := range rs {
				if term, err := l.Term(id, at); r.Index != at || err != nil || term != r.Term {
					return nil, fmt.Errorf("stream %d: asked for %d, got %d of term %d (index says %d, %v)", id, at, r.Index, r.Term, term, err)
				}
				s.entries = append(s.entries, twinEntry{r.Type, r.Term, string(r.Data)})
				at++
			}
		}
		if got := s.info(); got != in {
			return nil, fmt.Errorf("stream %d: Info %+v, its entries make %+v", id, in, got)
		}
	}
	return t, nil
}

// diff tells the first difference, "" if there is none.
func (t twin) diff(u twin) string {
	if a, b := slices.Sorted(maps.Keys(t)), slices.Sorted(maps.Keys(u)); !slices.Equal(a, b) {
		return fmt.Sprintf("streams %v and %v", a, b)
	}
	for id, s := range t {
		o := u[id]
		if s.info() != o.info() {
			return fmt.Sprintf("stream %d: %+v and %+v", id, s.info(), o.info())
		}
		for i := range s.entries {
			if s.entries[i] != o.entries[i] {
				return fmt.Sprintf("stream %d entry %d differs: terms %d and %d", id, s.first+uint64(i), s.entries[i].term, o.entries[i].term)
			}
		}
	}
	return ""
}
