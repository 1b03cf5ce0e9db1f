package partition

import (
	"bytes"
	"errors"
	"hash/crc32"
	"testing"

	"encoding/binary"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// someState is the state of a log with epochs, producers and a log start.
func someState(t testing.TB) (*fakeLog, []byte) {
	l := newFakeLog(t, Config{})
	l.lead()
	for i := range int32(7) {
		l.put(idem(7, 0, i, 1))
	}
	l.lead()
	l.put(idem(8, 2, 0, 3))
	if err := l.command(ClockCommand(1000)); err != nil {
		t.Fatal(err)
	}
	if err := l.command(LogStartCommand(2)); err != nil {
		t.Fatal(err)
	}
	l.put(idem(9, 0, 0, 3))
	return l, l.p.State()
}

// TestStateTwice restores a state whose entries are applied again only in part:
// the state taken then still is the one of the entry it had seen.
func TestStateTwice(t *testing.T) {
	l, state := someState(t)
	for n := range len(l.entries) + 1 {
		p, err := New(Config{State: state})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(l.entries[:n]); err != nil {
			t.Fatal(err)
		}
		if got := p.State(); !bytes.Equal(got, state) {
			t.Fatalf("after %d entries again:\n%x, want\n%x", n, got, state)
		}
		if o := p.Offsets(); o.LogStart > o.HighWatermark || o.LastStable > o.HighWatermark || o.HighWatermark > o.LogEnd {
			t.Fatalf("after %d entries again: %+v", n, o)
		}
	}
}

// startsAt is L1 whose oldest files were deleted.
type startsAt struct {
	*twin
	start ids.Offset
}

func (c startsAt) Start() ids.Offset { return c.start }

// TestStartOfFiles: files were deleted after the state beside them was taken, and
// the node stopped. Until the command that moved the log start is applied again
// nobody may be sent to what is gone.
func TestStartOfFiles(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	for i := range int32(4) {
		l.put(idem(7, 0, i, 1))
	}
	state := l.p.State()
	files := startsAt{&twin{entries: l.entries, moved: len(l.entries)}, 3}
	p, err := New(Config{Cold: files, State: state})
	if err != nil {
		t.Fatal(err)
	}
	p.Attach(l)
	if o := p.Offsets(); o.LogStart != 3 || o.HighWatermark != 4 {
		t.Errorf("offsets %+v, want a log start of 3", o)
	}
	if _, err := p.Read(ReadArgs{Offset: 2, MaxBytes: 1, One: true}); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("read below the files: %v", err)
	}
	if err := l.command(LogStartCommand(3)); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(l.entries[len(l.entries)-1:]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.State(), l.p.State()) {
		t.Error("the command applied again gives another state")
	}
}

func TestStateDamaged(t *testing.T) {
	_, state := someState(t)
	for i := range state {
		b := bytes.Clone(state)
		b[i] ^= 4
		if _, err := New(Config{State: b}); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := New(Config{State: state[:i]}); i > 0 && !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
}

func FuzzState(f *testing.F) {
	_, state := someState(f)
	f.Add(state[:len(state)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = binary.BigEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, castagnoli))
		p, err := New(Config{State: b})
		if err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Fatal(err)
			}
			return
		}
		if got := p.State(); !bytes.Equal(got, b) {
			t.Fatalf("decodes to\n%x, was\n%x", got, b)
		}
		// It must also be usable.
		data := idem(7, 0, 0, 1).encode()
		if err := p.Apply([]replica.Entry{{Index: 1, Term: 1, Data: data}, {Index: 2, Term: 9}}); err != nil {
			t.Fatal(err)
		}
		p.EpochEnd(1)
		p.Housekeep(1<<40, nil)
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{ProducersMax: -1}, {ProducerExpiryMS: -1}, {ParkedMax: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}

// racedLog moves everything to L1 within the first reads of the log, which were
// planned before.
type racedLog struct {
	movingLog
	p    *Partition
	upTo ids.LogIndex
}

func (w *racedLog) Read(lo, hi ids.LogIndex, maxBytes int64) ([]replica.Entry, error) {
	w.cold(w.upTo)
	w.p.Moved(w.upTo)
	w.forget(w.upTo)
	return w.movingLog.Read(lo, hi, maxBytes)
}

// TestMoveBetween moves entries between the look-up and the read.
func TestMoveBetween(t *testing.T) {
	for name, read := range map[string]func(*Partition) (ids.Offset, error){
		"read": func(p *Partition) (ids.Offset, error) {
			res, err := p.Read(ReadArgs{Offset: 5, MaxBytes: 1, One: true})
			if err != nil {
				return 0, err
			}
			return baseOffset(res.Batches[0]), nil
		},
		"by time": func(p *Partition) (ids.Offset, error) { at, err := p.ByTime(1005); return at.Offset, err },
		"max time": func(p *Partition) (ids.Offset, error) {
			at, err := p.MaxTime()
			return at.Offset - 4, err
		},
	} {
		l := newFakeLog(t, Config{})
		l.lead()
		for i := range int64(10) {
			s := plain(1)
			s.recs[0].ms = 1000 + i
			l.put(s)
		}
		w := &racedLog{movingLog: movingLog{entries: l.entries}, upTo: 11}
		p, err := New(Config{Cold: w})
		if err != nil {
			t.Fatal(err)
		}
		w.p = p
		p.Attach(w)
		if err := p.Apply(l.entries); err != nil {
			t.Fatal(err)
		}
		if at, err := read(p); err != nil || at != 5 {
			t.Errorf("%s: %d, %v", name, at, err)
		}
	}
}

// TestMoveRace reads while entries move to L1: every read sees its batches.
func TestMoveRace(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	w := &movingLog{}
	p, err := New(Config{Cold: w})
	if err != nil {
		t.Fatal(err)
	}
	p.Attach(w)
	for range 400 {
		l.put(plain(1))
	}
	w.entries = l.entries
	if err := p.Apply(l.entries); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 4)
	for range 4 {
		go func() {
			for at := ids.Offset(0); at < 400; at += 3 {
				res, err := p.Read(ReadArgs{Offset: at, MaxBytes: 500, One: true})
				if err == nil && (len(res.Batches) == 0 || baseOffset(res.Batches[0]) != at) {
					err = errors.New("wrong batch")
				}
				if err == nil {
					_, err = p.ByTime(1000)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for upTo := ids.LogIndex(1); upTo <= 401; upTo++ {
		w.cold(upTo)
		p.Moved(upTo)
		w.forget(upTo)
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}
