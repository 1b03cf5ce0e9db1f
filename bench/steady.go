package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"dyno/bench/cell"
	"dyno/loadgen"
)

// workSteady is a load that goes on until it is told to stop, and tells of every
// acknowledgement. Its spec is a loadSpec with a rate.
const workSteady = "steady"

const (
	steadyEvery = 20 * time.Millisecond // between two reports
	steadyMax   = 15 * time.Minute      // a load that nobody stops ends
	// steadyHeld bounds the acknowledgements that wait for a report: half a minute
	// at the highest rate of an experiment.
	steadyHeld = 200_000
	// steadyRetry is how soon the client tries again and asks anew who leads: what
	// is measured is how long the cluster is away, not how patient a client is.
	steadyRetry = 50 * time.Millisecond
	// steadyBuffer holds what is due while nobody answers.
	steadyBuffer = 128 << 20
)

// ack is one acknowledged record: when it was handed to the client, and when its
// answer came, both in ns of monotonic.
type ack struct {
	Partition int32 `json:"p"`
	Sent      int64 `json:"s"`
	At        int64 `json:"a"`
}

// steadyNews is one report: the generator's last progress and what was
// acknowledged since the report before.
type steadyNews struct {
	loadgen.Progress
	Acks []ack `json:"acks,omitempty"`
}

// feed collects acknowledgements for the next report. take and add may be called
// by different goroutines.
type feed struct {
	mu       sync.Mutex
	acks     []ack            // guarded by mu; in order of answers
	progress loadgen.Progress // guarded by mu
	full     bool             // guarded by mu: an acknowledgement found no room
}

func (f *feed) add(partition int32, service time.Duration) {
	now := monotonic()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.acks) >= steadyHeld {
		f.full = true
		return
	}
	f.acks = append(f.acks, ack{partition, now - int64(service), now})
}

func (f *feed) note(p loadgen.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.progress = p
}

func (f *feed) take() (n steadyNews, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = steadyNews{f.progress, f.acks}
	f.acks = nil
	return n, f.full
}

// report sends what there is until done is closed, and once more then.
func (f *feed) report(s *cell.Session, done <-chan struct{}) error {
	tick := time.NewTicker(steadyEvery)
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-done:
			last = true
		}
		news, full := f.take()
		if full {
			return fmt.Errorf("the lab did not take %d acknowledgements", steadyHeld)
		}
		if err := s.Report(news); err != nil {
			return err
		}
	}
	return nil
}

func runSteady(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec loadSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("steady load: %w", err)
	}
	cfg, err := spec.config()
	if err != nil {
		return nil, err
	}
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	f, done := &feed{}, make(chan struct{})
	cfg.Duration, cfg.RetryEvery, cfg.BufferedBytesMax, cfg.ProbeDuration = steadyMax, steadyRetry, steadyBuffer, -1
	cfg.Acked, cfg.Progress = f.add, f.note
	load, stop := context.WithCancel(ctx)
	defer stop()
	var reporter, stopper sync.WaitGroup
	var reportErr error
	reporter.Go(func() {
		if reportErr = f.report(s, done); reportErr != nil {
			stop()
		}
	})
	stopper.Go(func() {
		select {
		case <-s.Stopped():
			stop()
		case <-load.Done():
		}
	})
	res, err := loadgen.Run(load, cfg)
	stop()
	stopper.Wait()
	close(done)
	reporter.Wait()
	if err = errors.Join(err, reportErr); res == nil || reportErr != nil || ctx.Err() != nil {
		return nil, fmt.Errorf("steady load: %w", errors.Join(err, ctx.Err()))
	}
	return loadResult{Report: res.Report, Detail: res.Detail, Violation: res.Violation()}, nil
}
