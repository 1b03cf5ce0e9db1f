package partition

import (
	"errors"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

var errDeleted = errors.New("file deleted")

// passedLog deletes its first file under the first look-up by time: the log
// start passes it, then reading it fails.
type passedLog struct {
	movingLog
	pass func() // nil once it happened
}

func (w *passedLog) read(from ids.Offset, b []byte, err error) ([]byte, error) {
	if w.pass != nil && from < 5 {
		w.pass()
		w.pass = nil
		return nil, errDeleted
	}
	return b, err
}

func (w *passedLog) ByTime(ms int64, from ids.Offset) ([]byte, error) {
	b, err := w.movingLog.ByTime(ms, from)
	return w.read(from, b, err)
}

func (w *passedLog) MaxTime(from ids.Offset) ([]byte, error) {
	b, err := w.movingLog.MaxTime(from)
	return w.read(from, b, err)
}

// TestByTimePassed lets retention delete what a look-up by time is about to
// read: the answer is that of the log as it is now.
func TestByTimePassed(t *testing.T) {
	for name, c := range map[string]struct {
		look  func(p *Partition) (TimedOffset, error)
		moves bool // the log start moves before the file goes
		want  ids.Offset
		err   error
	}{
		"by time":        {func(p *Partition) (TimedOffset, error) { return p.ByTime(0) }, true, 5, nil},
		"largest":        {(*Partition).MaxTime, true, 9, nil},
		"by time, error": {func(p *Partition) (TimedOffset, error) { return p.ByTime(0) }, false, -1, errDeleted},
		"largest, error": {(*Partition).MaxTime, false, -1, errDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			l := newFakeLog(t, Config{})
			l.lead()
			for i := range int64(10) {
				s := plain(1)
				s.recs[0].ms = 1000 + i
				l.put(s)
			}
			w := &passedLog{movingLog: movingLog{entries: l.entries, copied: 11}}
			p, err := New(Config{Cold: w})
			if err != nil {
				t.Fatal(err)
			}
			p.Attach(w)
			if err := p.Apply(l.entries); err != nil {
				t.Fatal(err)
			}
			p.Moved(11)
			w.pass = func() {
				if !c.moves {
					return
				}
				if err := p.Apply([]replica.Entry{{Index: 12, Term: l.term, Data: LogStartCommand(5)}}); err != nil {
					t.Error(err)
				}
			}
			if got, err := c.look(p); got.Offset != c.want || !errors.Is(err, c.err) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
