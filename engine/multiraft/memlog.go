package multiraft

import (
	"fmt"
	"sync"

	"dyno/wal"
)

// MemoryLog is a Log in memory, for tests and simulations: an append is durable
// at once, or when the test lets it be (Hold, Release). Reads see what is
// durable and nothing else. Crash gives the log that a restart would find.
type MemoryLog struct {
	mu      sync.Mutex // guards what follows; not held while Done is called
	streams map[uint64]*memoryStream
	held    []*wal.Append
	hold    bool
	full    bool
	failed  error
	syncs   int
}

type memoryStream struct {
	first, prev uint64
	entries     []wal.Record
	state       wal.State
}

// NewMemoryLog makes an empty log.
func NewMemoryLog() *MemoryLog { return &MemoryLog{streams: map[uint64]*memoryStream{}} }

// Submit implements Log.
func (l *MemoryLog) Submit(a *wal.Append) error {
	l.mu.Lock()
	switch {
	case l.failed != nil:
		l.mu.Unlock()
		return l.failed
	case l.hold:
		l.held = append(l.held, a)
		l.mu.Unlock()
		return nil
	}
	l.write(a)
	l.mu.Unlock()
	a.Done(nil)
	return nil
}

// Hold keeps appends from becoming durable until Release.
func (l *MemoryLog) Hold() {
	l.mu.Lock()
	l.hold = true
	l.mu.Unlock()
}

// Held counts the appends held back.
func (l *MemoryLog) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// Release makes the n oldest of the appends held back durable, and with n < 0
// all of them, after which nothing is held any more.
func (l *MemoryLog) Release(n int) {
	for {
		l.mu.Lock()
		if len(l.held) == 0 || n == 0 {
			l.hold = l.hold && n >= 0
			l.mu.Unlock()
			return
		}
		a := l.held[0]
		l.held = l.held[1:]
		l.write(a)
		l.mu.Unlock()
		a.Done(nil)
		n--
	}
}

// Fail fails what is held back and everything after it.
func (l *MemoryLog) Fail(err error) {
	l.mu.Lock()
	held := l.held
	l.held, l.failed = nil, err
	l.mu.Unlock()
	for _, a := range held {
		a.Done(err)
	}
}

// Crash gives a log that holds what is durable. What is held back is lost; the
// old log fails it, so that whoever waits for it can go.
func (l *MemoryLog) Crash() *MemoryLog {
	l.Fail(fmt.Errorf("%w: crashed", wal.ErrFailed))
	l.mu.Lock()
	defer l.mu.Unlock()
	n := NewMemoryLog()
	for id, s := range l.streams {
		c := *s
		c.entries = append([]wal.Record(nil), s.entries...)
		n.streams[id] = &c
	}
	return n
}

// SetFull sets what Full says; appends are taken all the same.
func (l *MemoryLog) SetFull(full bool) {
	l.mu.Lock()
	l.full = full
	l.mu.Unlock()
}

// Full implements Log.
func (l *MemoryLog) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

// Syncs counts the appends that became durable.
func (l *MemoryLog) Syncs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.syncs
}

func (l *MemoryLog) write(a *wal.Append) {
	l.syncs++
	for i := range a.Records {
		rec := &a.Records[i]
		s := l.streams[rec.Stream]
		if s == nil {
			s = &memoryStream{first: 1}
			l.streams[rec.Stream] = s
		}
		switch rec.Kind {
		case wal.KindEntry:
			s.entry(rec)
		case wal.KindState:
			s.state = wal.State{Term: rec.Term, Vote: rec.Vote, Commit: rec.Index}
		case wal.KindTruncateBefore:
			s.entries = s.entries[rec.Index-s.first:]
			s.first, s.prev = rec.Index, rec.Term
		case wal.KindTruncateAfter:
			s.entries = s.entries[:rec.Index+1-s.first]
		case wal.KindRemove:
			delete(l.streams, rec.Stream)
		}
	}
}

func (s *memoryStream) entry(rec *wal.Record) {
	if rec.Index < s.first || rec.Index > s.first+uint64(len(s.entries)) {
		panic(fmt.Sprintf("BUG: stream %d: entry %d does not follow [%d, %d)",
			rec.Stream, rec.Index, s.first, s.first+uint64(len(s.entries))))
	}
	keep := rec.Index - s.first
	s.entries = append(s.entries[:keep], *rec)
}

// Read implements Log.
func (l *MemoryLog) Read(stream, lo, hi uint64, maxBytes int64) ([]wal.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[stream]
	switch {
	case s == nil || hi > s.first+uint64(len(s.entries)) || lo >= hi:
		return nil, wal.ErrUnavailable
	case lo < s.first:
		return nil, wal.ErrCompacted
	}
	var out []wal.Record
	bytes := int64(0)
	for _, rec := range s.entries[lo-s.first : hi-s.first] {
		if bytes += int64(len(rec.Data)); len(out) > 0 && bytes > maxBytes {
			break
		}
		out = append(out, rec)
	}
	return out, nil
}

// Term implements Log.
func (l *MemoryLog) Term(stream, index uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[stream]
	switch {
	case s == nil || index >= s.first+uint64(len(s.entries)):
		return 0, wal.ErrUnavailable
	case index+1 == s.first:
		return s.prev, nil
	case index < s.first:
		return 0, wal.ErrCompacted
	}
	return s.entries[index-s.first].Term, nil
}

// Info implements Log.
func (l *MemoryLog) Info(stream uint64) (wal.Info, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[stream]
	if s == nil {
		return wal.Info{}, false
	}
	info := wal.Info{
		First: s.first, Last: s.first + uint64(len(s.entries)) - 1, PrevTerm: s.prev, LastTerm: s.prev, State: s.state,
	}
	if n := len(s.entries); n > 0 {
		info.LastTerm = s.entries[n-1].Term
	}
	return info, true
}

// Streams lists the streams that exist, in no order.
func (l *MemoryLog) Streams() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []uint64
	for id := range l.streams {
		list = append(list, id)
	}
	return list
}
