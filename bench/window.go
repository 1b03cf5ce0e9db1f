package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"dyno/bench/record"
	"dyno/loadgen"
)

// The broker's counters that the lab reads. A counter that is missing leaves its
// figures out of the result; it is never taken as zero.
const (
	metricSyncs     = "dyno_wal_fdatasyncs_total"
	metricWritten   = "dyno_wal_written_bytes_total"
	metricSubmitted = "dyno_wal_submitted_bytes_total"
	metricEntries   = "dyno_wal_records_total"
	metricSyncTime  = "dyno_wal_fdatasync_seconds_total"
	metricMade      = "dyno_wal_segments_made_total"
	metricReused    = "dyno_wal_segments_reused_total"
	metricMoved     = "dyno_moved_bytes_total"
	metricBatches   = "dyno_kafka_batches_total"
	metricObjects   = "go_gc_heap_allocs_objects_total" // of the Go runtime, the whole process
	metricProposals = "dyno_raft_proposals_total"
	metricProposed  = "dyno_raft_proposed_entries_total"
	metricPolls     = "dyno_raft_polls_total"
	metricMutexWait = "go_sync_mutex_wait_total_seconds_total" // of the Go runtime, the whole process
)

// point is the state of client and brokers at one progress report.
type point struct {
	acked   int64
	client  usage
	brokers total
	device  uint64 // bytes written since boot by the device of the data directory
	hasDisk bool
}

// watch collects points during the timed window of a load. Its observe method is
// the load's progress callback; the other methods are called after the load.
type watch struct {
	ctx     context.Context                      // of the load
	giveUp  context.CancelFunc                   // ends the load
	brokers func(context.Context) (total, error) // what they have used and counted so far
	client  func(pid int) (usage, error)         // the same of the generator; nil where it tells by itself
	dataDir string
	tell    func(loadgen.Progress) // live line; may be nil
	// measuring, if set, is called at each report of the timed window.
	measuring func()

	first, last *point
	closed      bool // the window is over
	err         error
}

func (w *watch) observe(pid int, raw json.RawMessage) {
	if w.err != nil {
		return
	}
	if w.err = w.take(pid, raw); w.err != nil {
		w.giveUp()
	}
}

func (w *watch) take(pid int, raw json.RawMessage) (err error) {
	var p loadgen.Progress
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("progress of the load: %w", err)
	}
	if w.tell != nil {
		w.tell(p)
	}
	switch {
	case p.Phase == "measure":
	case p.Phase == "drain" && w.first != nil && !w.closed:
		w.closed = true // the first report after the window closes it
	default:
		return nil
	}
	if w.measuring != nil {
		w.measuring()
	}
	at := &point{acked: p.Acked}
	if w.client != nil {
		if at.client, err = w.client(pid); err != nil {
			return fmt.Errorf("read usage of the load generator: %w", err)
		}
	}
	if at.brokers, err = w.brokers(w.ctx); err != nil {
		return err
	}
	at.device, at.hasDisk = record.DiskWritten(w.dataDir)
	if w.first == nil {
		w.first = at
	}
	w.last = at
	return nil
}

// loadUnits declares what a load on a cluster measures: the generator's own
// figures, and then those of watch.values.
var loadUnits = []record.Unit{
	{Name: "throughput", Unit: "records/s", Better: "higher"},
	{Name: "bandwidth", Unit: "MB/s", Better: "higher"},
	{Name: "response_p50", Unit: "ns", Better: "lower"},
	{Name: "response_p99", Unit: "ns", Better: "lower"},
	{Name: "response_p999", Unit: "ns", Better: "lower"},
	{Name: "offered", Unit: "records/s"},
	{Name: "acked", Unit: "acked"},
	{Name: "lost", Unit: "lost", Better: "lower", Exact: true},
	{Name: "duplicated", Unit: "duplicated", Better: "lower", Exact: true},
	{Name: "reordered", Unit: "reordered", Better: "lower", Exact: true},
	{Name: "corrupted", Unit: "corrupted", Better: "lower", Exact: true},

	{Name: "fsyncs", Unit: "1/s"},
	{Name: "fsync_mean", Unit: "ns", Better: "lower"},
	{Name: "entries_per_sync", Unit: "entries"},
	{Name: "records_per_sync", Unit: "records"},
	{Name: "broker_cpu", Unit: "cpu-s/Mrecord", Better: "lower"},
	{Name: "client_cpu", Unit: "cpu-s/Mrecord", Better: "lower"},
	{Name: "objects_per_batch", Unit: "objects", Better: "lower"},
	{Name: "wal_bytes", Unit: "B/payload-B", Better: "lower"},
	{Name: "disk_bytes", Unit: "B/payload-B", Better: "lower"},
	{Name: "broker_rss", Unit: "B", Better: "lower"},

	{Name: "entries_per_proposal", Unit: "entries"},
	{Name: "proposals_per_batch", Unit: "proposals"},
	{Name: "polls", Unit: "1/s"},
	{Name: "mutex_wait", Unit: "s/s", Better: "lower"},
	{Name: "broker_cpu_1", Unit: "cpu-s/Mrecord", Better: "lower"},
	{Name: "broker_cpu_2", Unit: "cpu-s/Mrecord", Better: "lower"},
	{Name: "broker_cpu_3", Unit: "cpu-s/Mrecord", Better: "lower"},
}

// brokerCPU is how many brokers have a figure of their own beside their sum.
const brokerCPU = 3

// values turns the stretch between first and last point into measurements. Both
// ends of every ratio come from the same two moments.
func (w *watch) values(recordBytes int) (map[string]float64, error) {
	if w.err != nil {
		return nil, w.err
	}
	if w.first == nil || w.first == w.last {
		return nil, errors.New("the timed window was too short to observe: it needs at least two progress reports")
	}
	records := float64(w.last.acked - w.first.acked)
	seconds := w.last.brokers.at.Sub(w.first.brokers.at).Seconds()
	if records <= 0 || seconds <= 0 {
		return nil, fmt.Errorf("%.0f records were acknowledged in %.1f s of the timed window", records, seconds)
	}
	payload := records * float64(recordBytes)
	out := map[string]float64{
		"broker_cpu": 1e6 * (w.last.brokers.use.cpu - w.first.brokers.use.cpu) / records,
		"client_cpu": 1e6 * (w.last.client.cpu - w.first.client.cpu) / records,
		"broker_rss": float64(w.last.brokers.use.rssBytes),
	}
	if syncs, ok := w.delta(metricSyncs); ok && syncs > 0 {
		out["fsyncs"] = syncs / seconds
		out["records_per_sync"] = records / syncs
		if spent, ok := w.delta(metricSyncTime); ok {
			out["fsync_mean"] = 1e9 * spent / syncs
		}
		if entries, ok := w.delta(metricEntries); ok {
			out["entries_per_sync"] = entries / syncs
		}
	}
	if batches, ok := w.delta(metricBatches); ok && batches > 0 {
		if objects, ok := w.delta(metricObjects); ok {
			out["objects_per_batch"] = objects / batches
		}
	}
	w.proposals(out, seconds)
	for i := range min(brokerCPU, len(w.last.brokers.each)) {
		out[fmt.Sprintf("broker_cpu_%d", i+1)] = 1e6 * (w.last.brokers.each[i].cpu - w.first.brokers.each[i].cpu) / records
	}
	if written, ok := w.delta(metricWritten); ok {
		out["wal_bytes"] = written / payload
	}
	if w.first.hasDisk && w.last.hasDisk {
		out["disk_bytes"] = float64(w.last.device-w.first.device) / payload
	}
	return out, nil
}

// proposals adds how records became proposals, and what was waited for besides the disk.
func (w *watch) proposals(out map[string]float64, seconds float64) {
	if proposals, ok := w.delta(metricProposals); ok && proposals > 0 {
		if entries, ok := w.delta(metricProposed); ok {
			out["entries_per_proposal"] = entries / proposals
		}
		if batches, ok := w.delta(metricBatches); ok && batches > 0 {
			out["proposals_per_batch"] = proposals / batches
		}
	}
	for name, metric := range map[string]string{"polls": metricPolls, "mutex_wait": metricMutexWait} {
		if moved, ok := w.delta(metric); ok {
			out[name] = moved / seconds
		}
	}
}

// delta is how far a counter of the brokers moved; false if they do not have it.
func (w *watch) delta(name string) (float64, bool) {
	from, ok := w.first.brokers.seen[name]
	to, ok2 := w.last.brokers.seen[name]
	return to - from, ok && ok2
}

// phase says what the WAL did besides appending: whether it wrote over recycled
// segments or over space made beforehand, whether it made new segments meanwhile
// (each byte of which is zero-filled once), and whether it moved entries to the
// partition files (each byte of which is written twice).
func (w *watch) phase() string {
	var words []string
	if made, ok := w.delta(metricMade); ok && made > 0 {
		words = append(words, "zero-filling")
	} else if ok {
		words = append(words, "pre-filled")
	}
	if reused, ok := w.delta(metricReused); ok && reused > 0 {
		words = append(words, "recycled")
	}
	if moved, ok := w.delta(metricMoved); ok && moved > 0 {
		words = append(words, "with-moves")
	}
	return strings.Join(words, "+")
}

// missing names the expected counters that the brokers do not serve.
func (w *watch) missing() []string {
	var out []string
	for _, name := range []string{metricSyncs, metricWritten, metricSubmitted, metricEntries, metricBatches, metricObjects} {
		if w.last != nil {
			if _, ok := w.last.brokers.seen[name]; !ok {
				out = append(out, name)
			}
		}
	}
	return out
}
