package micro

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"dyno/bench/cell"
	"dyno/engine/partition"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs one request as a child does, and returns its events.
func serve(t *testing.T, ctx context.Context, spec Spec) ([]cell.Event, error) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(cell.Request{Work: "micro", Spec: raw})
	if err != nil {
		t.Fatal(err)
	}
	in, parent := io.Pipe()
	go func() { // ends when the work has closed in
		_, _ = io.WriteString(parent, string(request)+"\n"+cell.GoLine+"\n")
	}()
	var out strings.Builder
	err = cell.Serve(ctx, in, &out, map[string]cell.Work{"micro": Work})
	var events []cell.Event
	for line := range strings.Lines(out.String()) {
		var e cell.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events, err
}

func TestEveryPartIsMeasured(t *testing.T) {
	events, err := serve(t, t.Context(), Spec{Dir: t.TempDir(), Seed: 1, Scale: 50})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 3 || events[0].Kind != cell.Progress || events[1].Kind != cell.Ready {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	var res Result
	if err := json.Unmarshal(events[2].Result, &res); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"decode", "append", "produce", "fetch"} {
		if res.Values[name+"_rate"] <= 0 || res.Values[name+"_cpu"] <= 0 {
			t.Errorf("%s: %v records/s for %v CPU-s a million", name, res.Values[name+"_rate"], res.Values[name+"_cpu"])
		}
	}
}

func TestErrorsAreTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/node", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := serve(t, t.Context(), Spec{Dir: dir, Scale: 1000}); err == nil {
		t.Error("a node in a directory that is none")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := serve(t, ctx, Spec{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("a work that was cancelled: %v", err)
	}
}

func TestSpanSeesWhatIsMissing(t *testing.T) {
	source := rand.NewChaCha8([32]byte{1})
	one, two := batchOf(source), batchOf(source)
	if info, err := partition.ParseBatch(one); err != nil || info.Records != batchRecords {
		t.Fatalf("%+v, %v", info, err)
	}
	two[7] = batchRecords // its base offset
	both := append(append([]byte{}, one...), two...)
	if n, err := span(both, 0); n != 2*batchRecords || err != nil {
		t.Errorf("two batches: %d, %v", n, err)
	}
	if n, err := span(both[:len(both)-1], 0); n != batchRecords || err != nil {
		t.Errorf("a batch cut short: %d, %v", n, err)
	}
	if _, err := span(two, 0); err == nil {
		t.Error("a gap was not seen")
	}
	if _, err := span(both, batchRecords); err == nil {
		t.Error("a batch that came again was not seen")
	}
}
