package cell

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"dyno/wal"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// talk plays the parent: it sends one request, says go, and returns the result.
func talk(t *testing.T, work string, spec any, works map[string]Work) (*Result, error) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(Request{Work: work, Spec: raw})
	if err != nil {
		t.Fatal(err)
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = Serve(context.Background(), inR, outW, works) // told as an event
		outW.Close()
	}()
	defer func() { inW.Close(); outR.Close(); <-served }()
	if _, err := inW.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	events := bufio.NewScanner(outR)
	for events.Scan() {
		var e Event
		if err := json.Unmarshal(events.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		switch e.Kind {
		case Ready:
			if _, err := io.WriteString(inW, GoLine+"\n"); err != nil {
				t.Fatal(err)
			}
		case Error:
			return nil, errors.New(e.Code + ": " + e.Error)
		case Done:
			res := new(Result)
			return res, json.Unmarshal(e.Result, res)
		}
	}
	return nil, errors.New("the child ended without a result")
}

func TestRawModes(t *testing.T) {
	for _, mode := range []string{Grow, Fallocate, Zero, Recycled, Direct, DirectSync} {
		t.Run(mode, func(t *testing.T) {
			spec := RawSpec{Dir: t.TempDir(), Mode: mode, WriteBytes: 8 << 10, TotalBytes: 20 * 8 << 10, Seed: 3}
			res, err := talk(t, "raw", spec, map[string]Work{"raw": Raw})
			if (mode == Direct || mode == DirectSync) && err != nil && strings.Contains(err.Error(), unix.EINVAL.Error()) {
				t.Skip("the file system has no O_DIRECT")
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Ops != 20 || res.Verified != 20 || res.Syncs != 20 || res.Bytes != spec.TotalBytes {
				t.Errorf("%+v", res)
			}
			if res.Seconds <= 0 || res.P99Ns < res.P50Ns || res.P50Ns <= 0 || res.Phase != mode {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestRawRefusesNonsense(t *testing.T) {
	for _, spec := range []RawSpec{
		{Mode: "other", WriteBytes: 4096, TotalBytes: 4096},
		{Mode: Grow, WriteBytes: 100, TotalBytes: 4096},
		{Mode: Grow, WriteBytes: 4096, TotalBytes: 0},
	} {
		spec.Dir = t.TempDir()
		if _, err := talk(t, "raw", spec, map[string]Work{"raw": Raw}); err == nil {
			t.Errorf("%+v was accepted", spec)
		}
	}
}

// A byte that changed on the disk must fail the cell.
func TestRawVerifyFindsDamage(t *testing.T) {
	spec := RawSpec{Dir: t.TempDir(), Mode: Grow, WriteBytes: 8 << 10, TotalBytes: 64 << 10, Seed: 3}
	f, err := spec.prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err := spec.loop(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xee}, 3*8<<10+5000); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := spec.verify(t.Context(), res); err == nil || !strings.Contains(err.Error(), "record 3") {
		t.Errorf("damage in write 3: %v", err)
	}
}

func TestFilesUnderAppenders(t *testing.T) {
	works := map[string]Work{"append": Appending(map[string]System{"files": Files})}
	for _, c := range []struct {
		mode             string
		streams, perSync int
	}{{Usual, 1, 2}, {Usual, 5, 1}, {Usual, 64, 1}, {Batched, 1, 2}} {
		spec := AppendSpec{Dir: t.TempDir(), System: "files", Mode: c.mode, Appenders: 16,
			Streams: c.streams, RecordBytes: 1024, Records: 16 * 20, Seed: 9}
		res, err := talk(t, "append", spec, works)
		if err != nil {
			t.Fatalf("%s on %d: %v", c.mode, c.streams, err)
		}
		if res.Ops != 320 || res.Verified != 320 || res.Syncs < 1 || res.Syncs > 320 {
			t.Errorf("%s on %d: %+v", c.mode, c.streams, res)
		}
		if got := int(res.Ops / res.Syncs); got < c.perSync {
			t.Errorf("%s on %d: %d records per sync, want at least %d", c.mode, c.streams, got, c.perSync)
		}
	}
}

func TestWALUnderAppenders(t *testing.T) {
	works := map[string]Work{"append": Appending(map[string]System{"dyno": WAL, "shipped": WALShipped})}
	for _, c := range []struct {
		system, mode string
		streams      int
	}{{"dyno", Usual, 1}, {"dyno", Usual, 40}, {"dyno", Batched, 1}, {"shipped", Usual, 1}} {
		if c.system == "shipped" && testing.Short() {
			continue // fills 128 MiB with zeros
		}
		spec := AppendSpec{Dir: t.TempDir(), System: c.system, Mode: c.mode, Appenders: 16,
			Streams: c.streams, RecordBytes: 1024, Records: 16 * 20, Seed: 9}
		res, err := talk(t, "append", spec, works)
		if err != nil {
			t.Fatalf("%s, %s on %d: %v", c.system, c.mode, c.streams, err)
		}
		if res.Ops != 320 || res.Verified != 320 || res.Syncs < 1 || res.Syncs > 160 {
			t.Errorf("%s, %s on %d: %+v", c.system, c.mode, c.streams, res)
		}
	}
}

// memoryLog keeps records in memory; a fault changes what comes back.
type memoryLog struct {
	mu      sync.Mutex
	records [][]byte
}

func (l *memoryLog) Append(_ int, records [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.records = append(l.records, bytes.Clone(r))
	}
	return nil
}
func (l *memoryLog) Syncs() int64  { return 0 }
func (l *memoryLog) Phase() string { return "memory" }
func (l *memoryLog) Close() error  { return nil }

// A log whose space is not ready in time must not be measured as if it were.
func TestUnreadySpaceIsAnError(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 2 s")
	}
	log, err := wal.Open(wal.Options{Dir: t.TempDir(), SegmentBytes: 1 << 20, SpareSegments: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	l := &walLog{log: log, streams: make([]walStream, 1)}
	if err := l.settle(t.Context(), 7); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyCatchesEveryKindOfLie(t *testing.T) {
	for name, fault := range map[string]func([][]byte) [][]byte{
		"":            func(r [][]byte) [][]byte { return r },
		"came back":   func(r [][]byte) [][]byte { return r[:len(r)-1] },
		"twice":       func(r [][]byte) [][]byte { return append(r, r[5]) },
		"never":       func(r [][]byte) [][]byte { return append(r, newPattern(9, 1024).record(nil, 1<<40)) },
		"after":       func(r [][]byte) [][]byte { slices.Reverse(r); return r },
		"changed":     func(r [][]byte) [][]byte { r[7][999] ^= 1; return r },
		"foreign":     func(r [][]byte) [][]byte { r[7][9] ^= 1; return r },
		"bytes came":  func(r [][]byte) [][]byte { r[7] = r[7][:500]; return r },
		"in stream 1": func(r [][]byte) [][]byte { return r },
	} {
		log := &memoryLog{}
		sys := System{
			Open: func(context.Context, string, int, int64) (Log, error) { return log, nil },
			ReadBack: func(_ string, streams int, yield func(int, []byte) error) error {
				for _, r := range fault(log.records) {
					if err := yield(streams-1, r); err != nil {
						return err
					}
				}
				return nil
			},
		}
		spec := AppendSpec{Dir: t.TempDir(), System: "memory", Mode: Usual, Appenders: 4, Streams: 1,
			RecordBytes: 1024, Records: 40, Seed: 9}
		if name == "in stream 1" {
			spec.Streams = 2
		}
		_, err := talk(t, "append", spec, map[string]Work{"append": Appending(map[string]System{"memory": sys})})
		switch {
		case name == "" && err != nil:
			t.Errorf("an honest log: %v", err)
		case name != "" && (err == nil || !strings.Contains(err.Error(), name)):
			t.Errorf("%s: got %v", name, err)
		case name != "" && !strings.HasPrefix(err.Error(), Broken):
			t.Errorf("%s: not told as broken: %v", name, err)
		}
	}
}

func TestServeEndsWithItsParent(t *testing.T) {
	stuck := func(ctx context.Context, _ json.RawMessage, s *Session) (any, error) {
		if err := s.Await(ctx); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, said := range []string{"", GoLine + "\n", "stop\n"} {
		in := io.NopCloser(strings.NewReader(`{"work":"stuck","spec":{}}` + "\n" + said))
		var out bytes.Buffer
		err := Serve(t.Context(), in, &out, map[string]Work{"stuck": stuck})
		if err == nil || !strings.Contains(err.Error(), "parent process is gone") {
			t.Errorf("after %q: %v", said, err)
		}
	}
}

// A work without an end of its own comes to its result when the parent says so,
// and not before it has said go.
func TestServeIsToldToStop(t *testing.T) {
	endless := func(ctx context.Context, _ json.RawMessage, s *Session) (any, error) {
		if err := s.Await(ctx); err != nil {
			return nil, err
		}
		select {
		case <-s.Stopped():
			return "the result", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for said, good := range map[string]bool{
		GoLine + "\n" + StopLine + "\n": true, StopLine + "\n" + GoLine + "\n": false, GoLine + "\nelse\n": false,
	} {
		in, parent := io.Pipe()
		go func() { // ends when Serve has closed in
			_, _ = io.WriteString(parent, `{"work":"endless","spec":{}}`+"\n"+said)
			if !good {
				parent.Close()
			}
		}()
		var out bytes.Buffer
		err := Serve(t.Context(), in, &out, map[string]Work{"endless": endless})
		if told := strings.Contains(out.String(), "the result"); told != good || (err == nil) != good {
			t.Errorf("after %q: %v, %q", said, err, out.String())
		}
	}
}

func TestServeTellsAFullDisk(t *testing.T) {
	full := func(ctx context.Context, _ json.RawMessage, s *Session) (any, error) {
		return nil, &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
	}
	_, err := talk(t, "full", nil, map[string]Work{"full": full})
	if err == nil || !strings.HasPrefix(err.Error(), NoSpace) {
		t.Errorf("got %v", err)
	}
	if _, err := talk(t, "missing", nil, nil); err == nil || !strings.Contains(err.Error(), "unknown work") {
		t.Errorf("got %v", err)
	}
}
