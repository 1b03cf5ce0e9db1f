package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"dyno/bench/cell"
)

// job is one request to one child process.
type job struct {
	name string
	argv []string // the program and the arguments that make it a child
	work string   // a key of Works
	spec any
	// progress, if set, is told the child's pid and what it reported, on the
	// job's goroutine; the child waits in its report meanwhile.
	progress func(pid int, report json.RawMessage)
	// ready, if set, is told the child's pid once it is prepared, before it goes on.
	ready func(pid int)
	// stop, if set, asks the child for its result once it is closed, which is not
	// before its first report.
	stop <-chan struct{}
	// relay, if set, has the child go on only when it is its turn, for as long as it
	// says ready again; place is which of those that share it.
	relay *relay
	place int
}

// A child whose work is over gets childGrace to end by itself, one whose work
// was cancelled gets cancelGrace.
const (
	childGrace  = 10 * time.Second
	cancelGrace = 2 * time.Second
)

// runJobs starts one fresh process per job, lets all begin at the same moment
// once all are prepared (began is called then), and returns their results in
// order. It returns when every child has ended, whatever happened. The first
// error cancels the others. Errors: ErrStart, ErrNoSpace, the child's own.
func runJobs(ctx context.Context, jobs []job, began func()) ([]json.RawMessage, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		prepare sync.WaitGroup
		start   = make(chan struct{}) // closed here when all are ready
		results = make([]json.RawMessage, len(jobs))
		errs    = make([]error, len(jobs))
	)
	prepare.Add(len(jobs))
	for i, j := range jobs {
		wg.Go(func() {
			once := sync.OnceFunc(prepare.Done)
			defer once()
			results[i], errs[i] = j.run(ctx, once, start)
			if errs[i] != nil {
				errs[i] = &jobError{i, errs[i]}
				cancel()
			}
		})
	}
	prepare.Wait()
	if ctx.Err() == nil && began != nil {
		began()
	}
	close(start)
	wg.Wait()
	return results, firstCause(errs)
}

// jobError is how a job failed; index is which of them.
type jobError struct {
	index int
	err   error
}

func (e *jobError) Error() string { return e.err.Error() }
func (e *jobError) Unwrap() error { return e.err }

// firstCause picks the error that made the others be cancelled.
func firstCause(errs []error) error {
	var first error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if first == nil || errors.Is(first, context.Canceled) && !errors.Is(err, context.Canceled) {
			first = err
		}
	}
	return first
}

func (j *job) run(ctx context.Context, ready func(), start <-chan struct{}) (json.RawMessage, error) {
	in, out, p, err := j.launch()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// Hanging up cancels the child's work; it then ends by itself, or is ended.
	hangUp := sync.OnceFunc(func() { in.Close() })
	defer hangUp()
	ended := make(chan struct{}) // closed by the cancelling goroutine, if it ran
	stillRuns := context.AfterFunc(ctx, func() {
		defer close(ended)
		hangUp()
		_ = p.waitOrStop(cancelGrace) // run reports how it ended
	})
	defer func() {
		if !stillRuns() {
			<-ended
		}
	}()
	over := make(chan struct{})
	var stopper sync.WaitGroup
	stopper.Go(func() {
		select {
		case <-j.stop: // never, where it is nil
			_, _ = io.WriteString(in, cell.StopLine+"\n") // a child that is gone needs no word
		case <-over:
		}
	})
	result, err := j.talk(ctx, p.cmd.Process.Pid, in, out, ready, start)
	close(over)
	stopper.Wait()
	grace := childGrace
	if err != nil {
		hangUp()
		grace = cancelGrace
	}
	stopErr := p.waitOrStop(grace)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("%s: %w", j.name, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("%s: %w", j.name, err)
	case result == nil:
		return nil, fmt.Errorf("%s ended without a result (%v); %s", j.name, stopErr, p.lastWords())
	}
	return result, nil
}

// launch starts the child with pipes to its standard input and output.
func (j *job) launch() (in, out *os.File, p *process, err error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w %s: %v", ErrStart, j.name, err)
	}
	defer childIn.Close()
	out, childOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, nil, nil, fmt.Errorf("%w %s: %v", ErrStart, j.name, err)
	}
	defer childOut.Close()
	cmd := exec.Command(j.argv[0], j.argv[1:]...)
	cmd.Stdin, cmd.Stdout = childIn, childOut
	if p, err = launch(j.name, cmd); err != nil {
		in.Close()
		out.Close()
		return nil, nil, nil, err
	}
	return in, out, p, nil
}

// await blocks until the child may go on.
func (j *job) await(ctx context.Context, start <-chan struct{}) error {
	select {
	case <-start:
	case <-ctx.Done():
		return ctx.Err()
	}
	if j.relay == nil {
		return nil
	}
	j.relay.pass(j.place)
	return j.relay.take(ctx, j.place)
}

// talk sends the request and follows the events until the child hangs up.
func (j *job) talk(ctx context.Context, pid int, in io.Writer, out io.Reader, ready func(), start <-chan struct{}) (json.RawMessage, error) {
	spec, err := json.Marshal(j.spec)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if j.relay != nil {
		defer j.relay.leave(j.place)
	}
	if err := json.NewEncoder(in).Encode(cell.Request{Work: j.work, Spec: spec}); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	var result json.RawMessage
	var failed error
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e cell.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("it said %.80q, which is no event", lines.Text())
		}
		switch e.Kind {
		case cell.Ready:
			if j.ready != nil {
				j.ready(pid)
			}
			ready()
			if err := j.await(ctx, start); err != nil {
				return nil, err
			}
			if _, err := io.WriteString(in, cell.GoLine+"\n"); err != nil {
				return nil, fmt.Errorf("say go: %w", err)
			}
		case cell.Progress:
			if j.progress != nil {
				j.progress(pid, e.Progress)
			}
		case cell.Done:
			result = e.Result
		case cell.Error:
			failed = childError(e)
		}
	}
	return result, errors.Join(failed, lines.Err())
}

func childError(e cell.Event) error {
	switch e.Code {
	case cell.Broken:
		return fmt.Errorf("%w: %s", ErrViolation, e.Error)
	case cell.NoSpace:
		return fmt.Errorf("%w: the disk filled up during the run: %s", ErrNoSpace, e.Error)
	case cell.Silent:
		return fmt.Errorf("%w: %s", ErrInvalid, e.Error)
	}
	return errors.New(e.Error)
}

// waitOrStop waits for a child that is about to end, and stops it if it does not.
func (p *process) waitOrStop(grace time.Duration) error {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return p.err
	case <-timer.C:
	}
	return p.stop(grace)
}
