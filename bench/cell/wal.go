package cell

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"dyno/wal"
)

// WAL is dyno's log with all space of the measured time written beforehand: one
// segment holds it, as one prepared file holds a raw loop's.
var WAL = System{
	Open: func(ctx context.Context, dir string, streams int, bytes int64) (Log, error) {
		// A quarter more covers framing and padding of records from 1 KiB up.
		const align = 1 << 20
		size := (bytes+bytes/4)/align*align + 4*align
		return openWAL(ctx, streams, PreFilled, wal.Options{Dir: walDir(dir), SegmentBytes: size, SpareSegments: 1})
	},
	ReadBack: readWAL,
}

// WALShipped is dyno's log with its default options: segments of 64 MiB, two of
// them ready, and more zero-filled in the background while records come.
var WALShipped = System{
	Open: func(ctx context.Context, dir string, streams int, _ int64) (Log, error) {
		return openWAL(ctx, streams, ZeroFilling, wal.Options{Dir: walDir(dir)})
	},
	ReadBack: readWAL,
}

// The phases of dyno's log in a cell.
const (
	PreFilled   = "pre-filled"
	ZeroFilling = "zero-filling"
)

func walDir(dir string) string { return filepath.Join(dir, "wal") }

type walLog struct {
	log     *wal.Log
	phase   string
	streams []walStream
	waits   sync.Pool // of *walWait
}

// walStream hands out the indexes of one stream in the order of submission.
type walStream struct {
	mu   sync.Mutex
	next uint64 // guarded by mu
}

// walWait is one submission, reused: the log may refer to it until Done.
type walWait struct {
	a    wal.Append
	done chan error // capacity 1; sender: the flusher, receiver: Append
}

func openWAL(ctx context.Context, streams int, phase string, opts wal.Options) (Log, error) {
	log, err := wal.Open(opts)
	if err != nil {
		return nil, err
	}
	l := &walLog{log: log, phase: phase, streams: make([]walStream, streams)}
	l.waits.New = func() any {
		w := &walWait{done: make(chan error, 1)}
		w.a.Sync, w.a.Done = true, func(err error) { w.done <- err }
		return w
	}
	for i := range l.streams {
		l.streams[i].next = 1
	}
	if err := l.settle(ctx, int64(opts.SpareSegments)); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return l, nil
}

// settle brings the log to where a running one is: its first segment in use, as
// many ready behind it as it keeps. The record that takes the first segment lies
// in a stream of its own, which nobody reads. All of this is preparation.
func (l *walLog) settle(ctx context.Context, spares int64) error {
	const (
		look  = 20 * time.Millisecond
		still = 100 // looks without a new zero: many times what one stretch of zeros takes
	)
	first := make(chan error, 1)
	err := l.log.Submit(&wal.Append{Sync: true, Done: func(err error) { first <- err },
		Records: []wal.Record{{Stream: uint64(len(l.streams)) + 1, Kind: wal.KindEntry, Index: 1, Term: 1}}})
	if err == nil {
		err = <-first
	}
	if err != nil {
		return err
	}
	if spares == 0 {
		spares = 2 // the default of wal.Options
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for zeros, same := int64(-1), 0; same < still; same++ {
		s := l.log.Stats()
		if s.SegmentsMade >= spares+2 { // the one in use, the next one, the spares
			return nil
		}
		if s.ZeroBytes != zeros {
			zeros, same = s.ZeroBytes, 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("%d segments were made and no zero was written for %v: the space of the measured time is not ready",
		l.log.Stats().SegmentsMade, still*look)
}

// Append submits the records as one batch and waits for its Done.
func (l *walLog) Append(stream int, records [][]byte) error {
	w := l.waits.Get().(*walWait)
	defer l.waits.Put(w)
	w.a.Records = w.a.Records[:0]
	for _, r := range records {
		w.a.Records = append(w.a.Records, wal.Record{Stream: uint64(stream) + 1, Kind: wal.KindEntry, Term: 1, Data: r})
	}
	s := &l.streams[stream]
	s.mu.Lock()
	for i := range w.a.Records {
		w.a.Records[i].Index = s.next + uint64(i)
	}
	err := l.log.Submit(&w.a)
	if err == nil {
		s.next += uint64(len(records))
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return <-w.done
}

func (l *walLog) Syncs() int64  { return l.log.Stats().Syncs }
func (l *walLog) Phase() string { return l.phase }
func (l *walLog) Close() error  { return l.log.Close() }

func readWAL(dir string, streams int, yield func(int, []byte) error) (err error) {
	files, err := filepath.Glob(filepath.Join(walDir(dir), "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := forget(f); err != nil {
			return err
		}
	}
	log, err := wal.Open(wal.Options{Dir: walDir(dir), ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	for i := range streams {
		if err := readStream(log, i, yield); err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
	}
	return nil
}

func readStream(log *wal.Log, stream int, yield func(int, []byte) error) error {
	const chunk = 8 << 20
	id := uint64(stream) + 1
	info, ok := log.Info(id)
	if !ok {
		return nil
	}
	for next := info.First; next <= info.Last; {
		records, err := log.Read(id, next, info.Last+1, chunk)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Index != next {
				return fmt.Errorf("index %d came back as %d", next, r.Index)
			}
			if err := yield(stream, r.Data); err != nil {
				return err
			}
			next++
		}
	}
	return nil
}
