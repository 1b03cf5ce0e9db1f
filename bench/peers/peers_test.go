package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"testing"

	"dyno/bench/cell"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every peer must do honest work: records are read back from a reopened log, and
// its count of syncs is at least one per batch and at most one per record plus
// what opening a segment takes.
func TestPeersKeepWhatTheyTake(t *testing.T) {
	for name := range systems {
		for _, mode := range []string{cell.Usual, cell.Batched} {
			spec := cell.AppendSpec{Dir: t.TempDir(), System: name, Mode: mode, Appenders: 8, Streams: 1,
				RecordBytes: 1024, Records: 8 * 25, Seed: 5}
			res := ask(t, spec)
			if res.Ops != 200 || res.Verified != 200 {
				t.Errorf("%s, %s: %+v", name, mode, res)
			}
			if res.Syncs < 200/8 || res.Syncs > 210 || mode == cell.Usual && res.Syncs < 200 {
				t.Errorf("%s, %s: %d syncs for 200 records of 8 appenders", name, mode, res.Syncs)
			}
		}
	}
}

// ask plays the parent of one child.
func ask(t *testing.T, spec cell.AppendSpec) *cell.Result {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(cell.Request{Work: "append", Spec: raw})
	if err != nil {
		t.Fatal(err)
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = cell.Serve(context.Background(), inR, outW, map[string]cell.Work{"append": cell.Appending(systems)}) // told as an event
		outW.Close()
	}()
	defer func() { inW.Close(); outR.Close(); <-served }()
	if _, err := inW.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	for events := bufio.NewScanner(outR); events.Scan(); {
		var e cell.Event
		if err := json.Unmarshal(events.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		switch e.Kind {
		case cell.Ready:
			if _, err := io.WriteString(inW, cell.GoLine+"\n"); err != nil {
				t.Fatal(err)
			}
		case cell.Error:
			t.Fatalf("%s, %s: %s", spec.System, spec.Mode, e.Error)
		case cell.Done:
			res := new(cell.Result)
			if err := json.Unmarshal(e.Result, res); err != nil {
				t.Fatal(err)
			}
			return res
		}
	}
	t.Fatalf("%s, %s: the child ended without a result", spec.System, spec.Mode)
	return nil
}
