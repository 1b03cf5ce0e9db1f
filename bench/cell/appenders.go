package cell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Log is a log under test.
type Log interface {
	// Append makes the records durable, in order, before it returns. stream says
	// which partition they belong to; all records of one call share it. It is
	// called by many goroutines at once in Usual mode, by one in Batched. The
	// slices are the caller's again when it returns.
	Append(stream int, records [][]byte) error
	// Syncs is how many times the log has synced since it was opened.
	Syncs() int64
	// Phase is the state of the space it writes into, for the record.
	Phase() string
	Close() error
}

// System opens one kind of log and reads it back.
type System struct {
	// Open makes a new log for streams partitions in an empty directory, ready to
	// take bytes of payload without preparing space in the measured time, as far
	// as the system can do that.
	Open func(ctx context.Context, dir string, streams int, bytes int64) (Log, error)
	// ReadBack opens the closed log anew and yields its records, each stream in
	// order. The slice is valid during the call only.
	ReadBack func(dir string, streams int, yield func(stream int, record []byte) error) error
}

// The ways to call a log.
const (
	// Usual: each appender calls the log itself, as its interface offers.
	Usual = "usual"
	// Batched: one caller drains the waiting records of all appenders whole and
	// hands them over as one batch.
	Batched = "batched"
)

// AppendSpec is a closed loop of appenders, each with one record in flight.
type AppendSpec struct {
	Dir         string `json:"dir"`
	System      string `json:"system"`
	Mode        string `json:"mode"`
	Appenders   int    `json:"appenders"`
	Streams     int    `json:"streams"` // records go to them round robin; Batched takes 1
	RecordBytes int    `json:"record_bytes"`
	Records     int64  `json:"records"` // in all; rounded down to a multiple of Appenders
	Seed        uint64 `json:"seed"`
}

// Appending makes the Work of an AppendSpec for the given systems.
func Appending(systems map[string]System) Work {
	return func(ctx context.Context, raw json.RawMessage, s *Session) (any, error) {
		var spec AppendSpec
		if err := json.Unmarshal(raw, &spec); err != nil {
			return nil, fmt.Errorf("appenders: %w", err)
		}
		sys, ok := systems[spec.System]
		if !ok {
			return nil, fmt.Errorf("appenders: unknown system %q", spec.System)
		}
		if err := spec.check(); err != nil {
			return nil, fmt.Errorf("appenders: %w", err)
		}
		res, err := spec.run(ctx, sys, s)
		if err != nil {
			return nil, fmt.Errorf("appenders on %s, %s: %w", spec.System, spec.Mode, err)
		}
		return res, nil
	}
}

func (spec *AppendSpec) check() error {
	switch {
	case spec.Appenders < 1 || spec.Streams < 1 || spec.RecordBytes < stampBytes:
		return fmt.Errorf("%d appenders, %d streams, %d bytes", spec.Appenders, spec.Streams, spec.RecordBytes)
	case spec.Records < int64(spec.Appenders):
		return fmt.Errorf("%d records for %d appenders", spec.Records, spec.Appenders)
	case spec.Mode != Usual && spec.Mode != Batched:
		return fmt.Errorf("unknown mode %q", spec.Mode)
	case spec.Mode == Batched && spec.Streams != 1:
		return fmt.Errorf("a drained batch goes to one stream, not %d", spec.Streams)
	}
	return nil
}

// each is how many records one appender writes.
func (spec *AppendSpec) each() int64 { return spec.Records / int64(spec.Appenders) }

// place says where record i of appender a goes, and its number.
func (spec *AppendSpec) place(a int, i int64) (stream int, number uint64) {
	number = uint64(i)*uint64(spec.Appenders) + uint64(a)
	return int(number % uint64(spec.Streams)), number
}

func (spec *AppendSpec) run(ctx context.Context, sys System, s *Session) (*Result, error) {
	if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
		return nil, err
	}
	log, err := sys.Open(ctx, spec.Dir, spec.Streams, spec.each()*int64(spec.Appenders*spec.RecordBytes))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = log.Close() // an earlier error is already on its way
		}
	}()
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	res, err := spec.measure(ctx, log)
	if err != nil {
		return nil, err
	}
	closed = true
	if err := log.Close(); err != nil {
		return nil, fmt.Errorf("close: %w", err)
	}
	if err := spec.verify(sys, res); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVerify, err)
	}
	return res, nil
}

func (spec *AppendSpec) measure(ctx context.Context, log Log) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	submit, finish := log.Append, func() error { return nil }
	if spec.Mode == Batched {
		d := newDrainer(log, spec.Appenders)
		submit, finish = d.append, d.close
	}
	times := make([][]time.Duration, spec.Appenders)
	errs := make([]error, spec.Appenders)
	p := newPattern(spec.Seed, spec.RecordBytes)
	var wg sync.WaitGroup
	synced := log.Syncs()
	m := startMeter()
	for a := range spec.Appenders {
		times[a] = make([]time.Duration, 0, spec.each())
		wg.Go(func() {
			if errs[a] = spec.appender(ctx, a, p, submit, &times[a]); errs[a] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	ops := spec.each() * int64(spec.Appenders)
	res := &Result{Ops: ops, Bytes: ops * int64(spec.RecordBytes), Phase: log.Phase()}
	m.stop(res)
	res.Syncs = log.Syncs() - synced
	if err := errors.Join(errors.Join(errs...), finish()); err != nil {
		return nil, err
	}
	var all []time.Duration
	for _, ts := range times {
		all = append(all, ts...)
	}
	res.latencies(all)
	return res, nil
}

func (spec *AppendSpec) appender(ctx context.Context, a int, p *pattern,
	submit func(int, [][]byte) error, times *[]time.Duration) error {
	buf := p.record(nil, 0)
	one := [][]byte{buf}
	for i := range spec.each() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		stream, number := spec.place(a, i)
		p.stamp(buf, number)
		begin := time.Now()
		if err := submit(stream, one); err != nil {
			return fmt.Errorf("append record %d: %w", number, err)
		}
		*times = append(*times, time.Since(begin))
	}
	return nil
}

// verify reopens the log and demands every record, once, in its stream, those of
// one appender in order, and nothing else.
func (spec *AppendSpec) verify(sys System, res *Result) error {
	p := newPattern(spec.Seed, spec.RecordBytes)
	seen := make([]bool, res.Ops)
	last := make(map[[2]int]uint64) // by stream and appender: number + 1
	err := sys.ReadBack(spec.Dir, spec.Streams, func(stream int, record []byte) error {
		n, err := p.number(record)
		if err != nil {
			return err
		}
		appender := int(n % uint64(spec.Appenders))
		key := [2]int{stream, appender}
		switch {
		case n >= uint64(res.Ops):
			return fmt.Errorf("record %d was never written", n)
		case seen[n]:
			return fmt.Errorf("record %d came back twice", n)
		case int(n%uint64(spec.Streams)) != stream:
			return fmt.Errorf("record %d came back in stream %d", n, stream)
		case last[key] > n:
			return fmt.Errorf("record %d came back after record %d of the same appender", n, last[key]-1)
		}
		seen[n], last[key] = true, n+1
		res.Verified++
		return nil
	})
	if err != nil {
		return err
	}
	if res.Verified != res.Ops {
		return fmt.Errorf("%d of %d records came back", res.Verified, res.Ops)
	}
	return nil
}
