package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dyno/bench/cell"
	"dyno/bench/record"
)

// measureJobs runs one repetition of a cell that is a fixed amount of work, in
// one process for each of its jobs.
func (x *experiment) measureJobs(ctx context.Context, c *Cell, t turn, dir string) (record.Repetition, error) {
	rep := record.Repetition{Number: t.number, Seed: t.seed, Status: record.OK}
	x.lab.progress.say(t.name(c), "measure", "")
	var device uint64
	hasDisk := false
	raw, err := runJobs(ctx, x.jobs(c, dir, t.seed), func() { device, hasDisk = record.DiskWritten(dir) })
	if errors.Is(err, ErrViolation) {
		rep.Status, rep.Problem = record.Failed, err.Error()
		return rep, x.lab.work.settle(dir)
	}
	if err != nil {
		return rep, err
	}
	if err := syncFS(x.lab.work.path); err != nil {
		return rep, err
	}
	written := int64(-1)
	if now, ok := record.DiskWritten(dir); ok && hasDisk {
		written = int64(now - device)
	}
	if rep.Values, rep.Seconds, err = cellValues(raw, written); err != nil {
		return rep, err
	}
	x.phase = cellPhase(raw)
	c.check(&rep)
	return rep, x.lab.work.settle(dir)
}

// check makes a repetition invalid that did not do the work of its arm.
func (c *Cell) check(rep *record.Repetition) {
	if got := rep.Values["records_per_sync"]; c.RecordsPerSyncMax > 0 && got > c.RecordsPerSyncMax {
		rep.Status = record.Invalid
		rep.Problem = fmt.Sprintf("%.2f records per sync, at most %.2f are the same work as the raw loop's", got, c.RecordsPerSyncMax)
	}
}

// jobs gives each task of a cell a directory and a process.
func (x *experiment) jobs(c *Cell, dir string, seed uint64) []job {
	var jobs []job
	for i, task := range c.Jobs(dir, seed) {
		argv, name := x.lab.child, "the measuring process"
		if task.Peers {
			argv, name = []string{x.peers, "child"}, "dyno-peers"
		}
		if len(jobs) > 0 {
			name = fmt.Sprintf("%s %d", name, i+1)
		}
		jobs = append(jobs, job{name: name, argv: argv, work: task.Work, spec: task.Spec})
	}
	return jobs
}

// cellPhase names the states of space a cell's processes met, each once.
func cellPhase(raw []json.RawMessage) string {
	var seen []string
	for _, r := range raw {
		var res cell.Result // cellValues has read it before
		if json.Unmarshal(r, &res) == nil && res.Phase != "" && !slices.Contains(seen, res.Phase) {
			seen = append(seen, res.Phase)
		}
	}
	return strings.Join(seen, ",")
}

// cellUnits declares what cellValues gives.
var cellUnits = []record.Unit{
	{Name: "throughput", Unit: "MB/s", Better: "higher"},
	{Name: "appends", Unit: "1/s", Better: "higher"},
	{Name: "wait_p50", Unit: "ns", Better: "lower"},
	{Name: "wait_p99", Unit: "ns", Better: "lower"},
	{Name: "syncs", Unit: "1/s"},
	{Name: "records_per_sync", Unit: "records"},
	{Name: "disk_bytes", Unit: "B/payload-B", Better: "lower"},
	{Name: "cpu", Unit: "cpu-s/GB", Better: "lower"},
}

// cellColumns is the table of an experiment whose cells are jobs.
var cellColumns = []column{
	{"throughput", "MB/s", 1, "%.1f"}, {"appends", "appends/s", 1, "%.0f"}, {"wait_p50", "p50 ms", 1e-6, "%.3f"},
	{"wait_p99", "p99 ms", 1e-6, "%.3f"}, {"syncs", "syncs/s", 1, "%.0f"}, {"records_per_sync", "records/sync", 1, "%.1f"},
	{"disk_bytes", "disk B/B", 1, "%.2f"},
}

// cellValues joins the results of a cell's processes, which worked at the same
// time: amounts add up, the time is that of the last to end, the median wait is
// the mean of theirs and the p99 the worst. written is what the device wrote
// meanwhile, negative if it does not tell.
func cellValues(raw []json.RawMessage, written int64) (map[string]float64, float64, error) {
	var ops, bytes, syncs, cpu, seconds, p50, p99 float64
	for _, r := range raw {
		var res cell.Result
		if err := json.Unmarshal(r, &res); err != nil {
			return nil, 0, fmt.Errorf("result of a cell: %w", err)
		}
		if res.Verified != res.Ops || res.Ops == 0 || res.Seconds <= 0 {
			return nil, 0, fmt.Errorf("result of a cell: %d of %d records verified in %v s", res.Verified, res.Ops, res.Seconds)
		}
		ops, bytes = ops+float64(res.Ops), bytes+float64(res.Bytes)
		syncs, cpu = syncs+float64(res.Syncs), cpu+res.CPUSeconds
		seconds = max(seconds, res.Seconds)
		p50, p99 = p50+res.P50Ns/float64(len(raw)), max(p99, res.P99Ns)
	}
	values := map[string]float64{
		"throughput": bytes / 1e6 / seconds, "appends": ops / seconds, "wait_p50": p50, "wait_p99": p99,
		"syncs": syncs / seconds, "cpu": cpu / (bytes / 1e9),
	}
	if syncs > 0 {
		values["records_per_sync"] = ops / syncs
	}
	if written >= 0 {
		values["disk_bytes"] = float64(written) / bytes
	}
	return values, seconds, nil
}
