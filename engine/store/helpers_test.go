package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// makeBatch is a well-formed v2 batch of n records and size bytes in all.
func makeBatch(base ids.Offset, term ids.Term, n int, ms int64, size int) []byte {
	b := make([]byte, max(size, batchHeaderBytes))
	for i := batchHeaderBytes; i < len(b); i++ {
		b[i] = byte(int(base)*31 + i)
	}
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-posEpoch))
	binary.BigEndian.PutUint32(b[posEpoch:], uint32(term))
	b[posMagic] = 2
	binary.BigEndian.PutUint32(b[posLastDelta:], uint32(n-1))
	binary.BigEndian.PutUint64(b[posMaxTime:], uint64(ms))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posCovered:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// model is the dumb twin: all entries ever checkpointed or staged, in order.
type model struct {
	before  Boundary // of entries[0]
	entries []Entry
	staged  int // how many entries at the end are not checkpointed
	state   []byte
}

func (m *model) clone() *model {
	c := *m
	c.entries = append([]Entry(nil), m.entries...)
	return &c
}

func (m *model) last() Boundary {
	b := m.before
	for i := range m.entries {
		b = m.step(b, &m.entries[i])
	}
	return b
}

func (m *model) step(b Boundary, e *Entry) Boundary {
	b.Index, b.Term = e.Index, e.Term
	if e.isBatch() {
		b.End = batchEnd(e.Data, b.End)
	}
	return b
}

// next makes an entry that follows: kind 0 empty, 1 batch, 2 command, 3 typed.
func (m *model) next(kind int, termUp bool, n int, ms int64, size int) Entry {
	l := m.last()
	e := Entry{Index: l.Index + 1, Term: max(l.Term, 1)}
	if termUp {
		e.Term++
	}
	switch kind {
	case 1:
		e.Data = makeBatch(l.End, e.Term, n, ms, size)
	case 2:
		e.Data = bytes.Repeat([]byte{0x81}, size%50+1)
	case 3:
		e.Type, e.Data = uint8(n%3+1), bytes.Repeat([]byte{byte(n)}, size%20)
	}
	m.entries = append(m.entries, e)
	m.staged++
	return e
}

// checkpointed is the model without what is staged.
func (m *model) checkpointed() *model {
	c := m.clone()
	c.entries, c.staged = c.entries[:len(c.entries)-c.staged], 0
	return c
}

// cutTo drops what lies at or below the boundary that a truncation chose.
func (m *model) cutTo(b Boundary) error {
	at := m.before
	i := 0
	for i < len(m.entries) && at.Index < b.Index {
		at = m.step(at, &m.entries[i])
		i++
	}
	if at != b {
		return fmt.Errorf("boundary %+v is none of the log, which has %+v there", b, at)
	}
	m.before, m.entries = at, m.entries[i:]
	return nil
}

// check compares all that a log shows with the model, which has nothing staged.
func (m *model) check(l *Log) error {
	before, last := l.Bounds()
	if before != m.before || last != m.last() {
		return fmt.Errorf("log holds %+v to %+v, want %+v to %+v", before, last, m.before, m.last())
	}
	if state, err := l.State(); err != nil || !bytes.Equal(state, m.state) {
		return fmt.Errorf("state %q, want %q: %v", state, m.state, err)
	}
	if err := m.checkEntries(l); err != nil {
		return err
	}
	return m.checkOffsets(l)
}

func (m *model) checkEntries(l *Log) error {
	at := m.before
	for i := 0; i < len(m.entries); {
		got, err := l.Entries(m.entries[i].Index, m.last().Index+1, 700)
		if err != nil || len(got) == 0 {
			return fmt.Errorf("entries from %d: %d, %v", m.entries[i].Index, len(got), err)
		}
		for _, g := range got {
			w := m.entries[i]
			if g.Index != w.Index || g.Term != w.Term || g.Type != w.Type || !bytes.Equal(g.Data, w.Data) {
				return fmt.Errorf("entry %d: %+v, want %+v", i, g, w)
			}
			at = m.step(at, &w)
			if term, err := l.Term(w.Index); err != nil || term != w.Term {
				return fmt.Errorf("term of %d: %d, %v", w.Index, term, err)
			}
			i++
		}
	}
	if term, err := l.Term(m.before.Index); err != nil || term != m.before.Term {
		return fmt.Errorf("term of the boundary %+v: %d, %v", m.before, term, err)
	}
	return nil
}

// batches lists the model's batches.
func (m *model) batches() (out [][]byte) {
	for i := range m.entries {
		if m.entries[i].isBatch() {
			out = append(out, m.entries[i].Data)
		}
	}
	return out
}

func (m *model) checkOffsets(l *Log) error {
	want := m.batches()
	at := m.before.End
	for len(want) > 0 {
		got, err := l.ReadOffset(at+(batchEnd(want[0], at)-at)/2, 1000, true)
		if err != nil || len(got) == 0 {
			return fmt.Errorf("read offset %d: %d batches, %v", at, len(got), err)
		}
		for _, b := range got {
			if !bytes.Equal(b, want[0]) {
				return fmt.Errorf("batch at offset %d differs", at)
			}
			at, want = batchEnd(b, at), want[1:]
		}
	}
	if got, err := l.ReadOffset(at, 1000, true); err != nil || len(got) != 0 {
		return fmt.Errorf("read at the end: %d batches, %v", len(got), err)
	}
	return nil
}

func mustOpen(t testing.TB, fs vfs.FS, fileBytes int64) *Log {
	t.Helper()
	l, err := Open(Options{FS: fs, Dir: "p", FileBytes: fileBytes})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
