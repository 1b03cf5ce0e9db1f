package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"dyno/bench/record"
	"dyno/loadgen"
)

// workNATS is a work of dyno-peers alone.
const workNATS = "nats"

// natsSpec is what dyno-peers is asked to do: the part of bench/peers/natspeer's
// Config that is chosen here. That package belongs to another module.
type natsSpec struct {
	Dir        string        `json:"dir"`
	Sync       string        `json:"sync"`
	Streams    int           `json:"streams"`
	SizeBytes  int           `json:"size_bytes"`
	ClosedLoop int           `json:"closed_loop"` // clients with one message in flight each; 0: pipelined publishers
	Rate       float64       `json:"rate"`        // messages/s on a schedule; 0 saturates
	Warmup     time.Duration `json:"warmup_ns"`
	Window     time.Duration `json:"window_ns"`
	Verify     string        `json:"verify"`
	Seed       uint64        `json:"seed"`
}

// The fsync policies of the servers, and how far a run is checked: what the streams
// hold is counted, and every message is read back.
const (
	natsAlways  = "always"
	natsDefault = "default"
	natsRead    = "read"
)

// natsResult is the part of natspeer's Result that is read here. Violation is ""
// where nothing that the peer promises was broken.
type natsResult struct {
	loadgen.Report
	Window  time.Duration `json:"window_ns"` // from the start of the timed window to the last answer
	Why     string        `json:"saturated_why"`
	Unsent  int64         `json:"unsent"`
	Servers []struct {
		CPUSeconds float64 `json:"cpu_s"` // over Window
		RSSBytes   int64   `json:"rss_bytes"`
	} `json:"servers"`
	Verification struct {
		Foreign int64 `json:"foreign"`
	} `json:"verification"`
	Violation string `json:"violation"`
}

// loadNATS has dyno-peers start a cluster of NATS servers and load it, and judges
// the outcome as that of a cluster of dyno is judged.
func (b *bed) loadNATS(ctx context.Context, spec natsSpec) error {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	spec.Dir, spec.Seed = filepath.Join(b.dir, "nats"), b.seed
	// dyno-peers tells what it and its servers used; the watch has the disk.
	w := &watch{ctx: ctx, giveUp: giveUp, dataDir: b.dir, tell: b.lab.live(b.name)}
	w.brokers = func(context.Context) (total, error) { return total{at: time.Now()}, nil }
	b.lab.progress.say(b.name, "start", "")
	raw, err := runJobs(ctx, []job{{
		name: "dyno-peers", argv: []string{b.peers, "child"}, work: workNATS, spec: spec, progress: w.observe, ready: b.lab.urgent(spec.Rate),
	}}, nil)
	switch {
	case w.err != nil:
		return w.err
	case errors.Is(err, ErrInvalid):
		b.rep.Status, b.rep.Problem = record.Invalid, err.Error()
		return nil
	case err != nil:
		return err
	}
	var res natsResult
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of dyno-peers: %w", err)
	}
	if b.overload { // the response has what was never sent at a lower bound
		res.Unsent = 0
	}
	if err := res.judge(b.rep, w, spec.SizeBytes); err != nil {
		return err
	}
	if spec.Rate > 0 {
		b.rep.Values["offered"] = spec.Rate
	}
	return nil
}

// judge fills in a repetition. What servers and client used is of the whole window
// up to its last answer, and divided by the messages of that stretch.
func (r *natsResult) judge(rep *record.Repetition, w *watch, sizeBytes int) error {
	values, err := w.values(sizeBytes)
	if err != nil {
		return err
	}
	rep.Values = values
	reportValues(values, &r.Report)
	cpu, rss := 0.0, int64(0)
	for _, s := range r.Servers {
		cpu += s.CPUSeconds
		rss += s.RSSBytes
	}
	messages := r.MsgsPerS * r.Window.Seconds()
	values["broker_cpu"], values["client_cpu"] = 1e6*cpu/messages, 1e6*r.ClientCPUS/messages
	values["broker_rss"] = float64(rss)
	switch odd := unansweredOf(r.Failed, r.Unknown, r.Unsent, r.Verification.Foreign); {
	case r.Violation != "":
		rep.Status, rep.Problem = record.Failed, r.Violation
	case r.Lost == nil:
		rep.Status, rep.Problem = record.Invalid, "the messages were not read back"
	case odd != "":
		rep.Status, rep.Problem = record.Invalid, odd
	case r.Saturated == loadgen.BottleneckGenerator:
		rep.Status, rep.Problem = record.Invalid, "the generator was the bottleneck: "+r.Why
	}
	return nil
}
