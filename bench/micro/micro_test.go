package micro

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"dyno/bench/cell"
	"dyno/engine/partition"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs one request as a child does, lets it go on whenever it is ready, and
// returns its events.
func serve(t *testing.T, ctx context.Context, spec Spec) (events []cell.Event, err error) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	in, parent := io.Pipe()
	child, out := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		err = cell.Serve(ctx, in, out, map[string]cell.Work{"micro": Work})
		out.Close()
	})
	if jsonErr := json.NewEncoder(parent).Encode(cell.Request{Work: "micro", Spec: raw}); jsonErr != nil {
		t.Fatal(jsonErr)
	}
	for lines := json.NewDecoder(child); ; {
		var e cell.Event
		if lines.Decode(&e) != nil {
			break // the child has ended
		}
		if events = append(events, e); e.Kind == cell.Ready {
			_, _ = io.WriteString(parent, cell.GoLine+"\n") // an end of the child shows in err
		}
	}
	wg.Wait()
	return events, err
}

func TestEveryPartIsMeasured(t *testing.T) {
	const booked = 2
	events, err := serve(t, t.Context(), Spec{Dir: t.TempDir(), Seed: 1, Scale: rounds / booked})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1+1+booked+1 || events[0].Kind != cell.Progress || events[1].Kind != cell.Ready || events[1+booked].Kind != cell.Ready {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	var res Result
	if err := json.Unmarshal(events[len(events)-1].Result, &res); err != nil {
		t.Fatal(err)
	}
	if want := "decode 8000, fetch 4800, append 256, produce 400 records of 1024 B"; !strings.Contains(res.Work, want) {
		t.Errorf("it did %s, want %s", res.Work, want)
	}
	if res.Seconds <= 0 || res.Began.IsZero() {
		t.Errorf("it took %v s from %v on", res.Seconds, res.Began)
	}
	for _, name := range []string{"decode", "append", "produce", "fetch"} {
		if res.Values[name+"_rate"] <= 0 || res.Values[name+"_cpu"] <= 0 {
			t.Errorf("%s: %v records/s for %v CPU-s a million", name, res.Values[name+"_rate"], res.Values[name+"_cpu"])
		}
	}
}

// What takes time from a tenth of the rounds, or less, does not show; what every round
// costs does.
func TestInterruptedRounds(t *testing.T) {
	r := &run{costs: map[string][]cost{}}
	for i := range 20 {
		c := cost{records: 1000, cpu: 10 * time.Millisecond, wall: 20 * time.Millisecond}
		if i == 3 || i == 11 {
			c.cpu, c.wall = c.cpu+time.Second, c.wall+time.Second
		}
		r.costs["append"] = append(r.costs["append"], c)
	}
	v := r.values()
	if cpu, rate := v["append_cpu"], v["append_rate"]; math.Abs(cpu-10) > 1e-9 || math.Abs(rate-50_000) > 1e-6 {
		t.Errorf("%v CPU-s a million, %v records/s", cpu, rate)
	}
	for i := range r.costs["append"] {
		r.costs["append"][i].cpu += time.Duration(i%2) * time.Millisecond
	}
	if cpu := r.values()["append_cpu"]; math.Abs(cpu-10.5) > 0.01 {
		t.Errorf("dearer by 1 ms every other round: %v CPU-s a million", cpu)
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
