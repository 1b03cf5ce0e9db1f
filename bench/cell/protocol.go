package cell

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Request is the first line a parent writes to a child.
type Request struct {
	Work string          `json:"work"` // a key of the works given to Serve
	Spec json.RawMessage `json:"spec"`
}

// Event is one line a child writes to its parent.
type Event struct {
	Kind     string          `json:"kind"` // Ready, Progress, Done or Error
	Progress json.RawMessage `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    string          `json:"error,omitempty"`
	Code     string          `json:"code,omitempty"` // NoSpace, Broken, Silent, or "" for any other error
}

// The kinds of Event.
const (
	Ready    = "ready"
	Progress = "progress"
	Done     = "result"
	Error    = "error"
)

// The codes of Event: an error that a full disk caused, a log that did not give
// back what it took, and a system that stopped to answer.
const (
	NoSpace = "no_space"
	Broken  = "broken"
	Silent  = "silent"
)

var (
	// ErrVerify means that what was written did not come back whole.
	ErrVerify = errors.New("what was written did not come back")
	// ErrSilent means that the system under test stopped to answer, so that the
	// work could not be measured. It is no broken promise.
	ErrSilent = errors.New("no answer")
)

// GoLine lets a child that said Ready go on. StopLine ends one, in order, whose work
// has no end of its own.
const (
	GoLine   = "go"
	StopLine = "stop"
)

// requestMax bounds one line of the protocol.
const requestMax = 1 << 20

// Session is the child's side of one request.
type Session struct {
	out *json.Encoder
	run <-chan struct{} // of capacity 1; filled by the reader of Serve when GoLine came
	end <-chan struct{} // closed by it when StopLine came
}

// Stopped is closed when the parent asks for the end. The work then comes to its
// result; a parent that is gone cancels the work's context instead.
func (s *Session) Stopped() <-chan struct{} { return s.end }

// Await tells the parent that preparation is over, or a round of the work, and
// blocks until it says go.
func (s *Session) Await(ctx context.Context) error {
	if err := s.out.Encode(Event{Kind: Ready}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	select {
	case <-s.run:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Report sends progress. It must be called from one goroutine at a time.
func (s *Session) Report(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode progress: %w", err)
	}
	return s.out.Encode(Event{Kind: Progress, Progress: raw})
}

// Work runs one request. It calls Await before what is measured: once, or before
// each of its rounds.
type Work func(ctx context.Context, spec json.RawMessage, s *Session) (any, error)

// Serve reads one request from in, runs it and writes events to out. It closes
// in and returns when its reader has ended; the error is the work's own, which
// the parent has been told. in must unblock on Close: see Stdin.
func Serve(ctx context.Context, in io.ReadCloser, out io.Writer, works map[string]Work) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := bufio.NewReaderSize(in, 64<<10)
	req, err := readRequest(lines)
	if err != nil {
		in.Close()
		return err
	}
	run, end, read := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		listen(lines, run, end)
		cancel(errors.New("the parent process is gone"))
	}()
	enc := json.NewEncoder(out)
	err = answer(ctx, req, works, &Session{out: enc, run: run, end: end}, enc)
	in.Close()
	<-read
	return err
}

// listen passes on what the parent says, until it hangs up or says what it may not:
// anything but GoLine first, a GoLine before the last one was taken.
func listen(lines *bufio.Reader, run chan<- struct{}, end chan<- struct{}) {
	for began := false; ; began = true {
		line, err := lines.ReadString('\n')
		switch {
		case err == nil && line == GoLine+"\n" && len(run) == 0:
			run <- struct{}{}
		case err == nil && line == StopLine+"\n" && began:
			close(end)
			_, _ = lines.ReadByte() // blocks until the parent hangs up
			return
		default:
			return
		}
	}
}

func readRequest(lines *bufio.Reader) (Request, error) {
	var req Request
	line, err := lines.ReadBytes('\n')
	if err != nil || len(line) > requestMax {
		return req, fmt.Errorf("read request: %w", errors.Join(err, errors.New("a parent process must send one line of JSON")))
	}
	if err := json.Unmarshal(line, &req); err != nil {
		return req, fmt.Errorf("read request: %w", err)
	}
	return req, nil
}

func answer(ctx context.Context, req Request, works map[string]Work, s *Session, enc *json.Encoder) error {
	work, ok := works[req.Work]
	err := fmt.Errorf("unknown work %q", req.Work)
	var result any
	if ok {
		result, err = work(ctx, req.Spec, s)
	}
	if err == nil {
		var raw json.RawMessage
		if raw, err = json.Marshal(result); err == nil {
			return enc.Encode(Event{Kind: Done, Result: raw})
		}
	}
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	event := Event{Kind: Error, Error: err.Error()}
	switch {
	case errors.Is(err, unix.ENOSPC):
		event.Code = NoSpace
	case errors.Is(err, ErrVerify) && ctx.Err() == nil:
		event.Code = Broken
	case errors.Is(err, ErrSilent) && ctx.Err() == nil:
		event.Code = Silent
	}
	return errors.Join(err, enc.Encode(event))
}

// Stdin is the process's standard input in a form whose Close unblocks a read.
func Stdin() (io.ReadCloser, error) {
	if err := unix.SetNonblock(0, true); err != nil {
		return nil, fmt.Errorf("prepare standard input: %w", err)
	}
	return os.NewFile(0, "stdin"), nil
}
