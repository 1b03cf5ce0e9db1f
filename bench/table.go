package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"dyno/bench/record"
	"dyno/bench/stats"
)

// column is a quantity of the table for people, scaled and named: one line where
// there are few arms, a column where there are many.
type column struct {
	name  string // of the unit
	label string
	scale float64
	form  string
}

var suiteRows = []column{
	{"throughput", "throughput, records/s", 1, "%.0f"},
	{"bandwidth", "payload, MB/s", 1, "%.1f"},
	{"response_p50", "response p50, ms", 1e-6, "%.2f"},
	{"response_p99", "response p99, ms", 1e-6, "%.2f"},
	{"response_p999", "response p99.9, ms", 1e-6, "%.2f"},
	{"lost", "lost", 1, "%.0f"},
	{"duplicated", "duplicated", 1, "%.0f"},
	{"reordered", "reordered", 1, "%.0f"},
	{"fsyncs", "fsyncs/s", 1, "%.0f"},
	{"entries_per_sync", "log entries per sync", 1, "%.1f"},
	{"records_per_sync", "records per sync", 1, "%.0f"},
	{"broker_cpu", "broker CPU-s per million records", 1, "%.2f"},
	{"client_cpu", "client CPU-s per million records", 1, "%.2f"},
	{"objects_per_batch", "broker's heap objects per batch", 1, "%.2f"},
	{"wal_bytes", "WAL bytes per payload byte", 1, "%.3f"},
	{"disk_bytes", "disk bytes per payload byte", 1, "%.3f"},
}

// counts are added up over repetitions; a median would hide a single loss.
var counts = map[string]bool{"lost": true, "duplicated": true, "reordered": true, "corrupted": true, "acked": true,
	"errors": true, "kills": true}

// middle is the median over an arm's good repetitions, or the sum of a count over
// all of them; "-" where nothing was measured.
func (c column) middle(arm *record.Arm) string {
	if counts[c.name] {
		sum, seen := 0.0, false
		for _, rep := range arm.Repetitions {
			v, ok := rep.Values[c.name]
			sum, seen = sum+v, seen || ok
		}
		if !seen {
			return "-"
		}
		return fmt.Sprintf(c.form, sum)
	}
	vs := arm.Values(c.name)
	if len(vs) == 0 {
		return "-"
	}
	return fmt.Sprintf(c.form, c.scale*stats.Median(vs))
}

// cellText is middle with the range of the repetitions behind it.
func (c column) cellText(arm *record.Arm) string {
	text := c.middle(arm)
	if vs := arm.Values(c.name); len(vs) > 1 && !counts[c.name] {
		text += fmt.Sprintf("  ("+c.form+" to "+c.form+")", c.scale*stats.Quantile(vs, 0), c.scale*stats.Quantile(vs, 1))
	}
	return text
}

// writeTable prints a suite's run for people.
func writeTable(w io.Writer, run *record.Run) error {
	fmt.Fprintf(w, "\n%s  %s\n", run.ID, verdictLine(run))
	fmt.Fprintf(w, "%v broker(s), %v B records, %v partitions, acks=%v, fsync on; median (range) of %v repetitions\n\n",
		run.Config["nodes"], run.Config["record_bytes"], run.Config["partitions"], run.Config["acks"], run.Config["repetitions"])
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "\t")
	for _, arm := range run.Arms {
		fmt.Fprintf(t, "%s\t", armTitle(arm.Name))
	}
	fmt.Fprintln(t)
	for _, r := range suiteRows {
		fmt.Fprintf(t, "%s\t", r.label)
		for i := range run.Arms {
			fmt.Fprintf(t, "%s\t", r.cellText(&run.Arms[i]))
		}
		fmt.Fprintln(t)
	}
	fmt.Fprint(t, "WAL phase\t")
	for _, arm := range run.Arms {
		fmt.Fprintf(t, "%s\t", phaseOf(&arm))
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range run.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	return nil
}

func armTitle(name string) string {
	switch name {
	case armSaturate:
		return "saturating"
	case armHalf:
		return "at half of that"
	}
	return name
}

func verdictLine(run *record.Run) string {
	return strings.ToUpper(run.Verdict.Result) + ": " + run.Verdict.Text
}

// writeChange prints this run against an earlier one of the same machine.
func writeChange(w io.Writer, now, then *record.Run) error {
	if !comparable(now, then) {
		_, err := fmt.Fprintf(w, "\nThe last good result of this machine, %s, had another configuration: not compared.\n", then.ID)
		return err
	}
	fmt.Fprintf(w, "\nAgainst %s (commit %.10s), medians:\n", then.ID, then.Commit.Hash)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for i := range now.Arms {
		arm := &now.Arms[i]
		old := then.Arm(arm.Name)
		if old == nil || !maps.Equal(arm.Params, old.Params) {
			continue
		}
		for _, name := range []string{"throughput", "response_p99", "broker_cpu"} {
			a, b := arm.Values(name), old.Values(name)
			if len(a) == 0 || len(b) == 0 || stats.Median(b) == 0 {
				continue
			}
			if name == "response_p99" && !sameRate(arm, old) {
				fmt.Fprintf(t, "  %s\tresponse p99\t-\tthe offered rates differ by more than %.0f %%\n", armTitle(arm.Name), 100*rateSlack)
				continue
			}
			ratio := stats.Median(a) / stats.Median(b)
			unit, _ := now.Unit(name)
			fmt.Fprintf(t, "  %s\t%s\tx%.3f\t%s\n", armTitle(arm.Name), strings.ReplaceAll(name, "_", " "), ratio, changeWord(a, b, unit))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "  Caution: one run against one run; two runs of the same commit differ too, and the second meets another machine state.")
	for _, c := range now.Environment.Cautions(&then.Environment) {
		fmt.Fprintln(w, "  Caution:", c)
	}
	return nil
}

// comparable says whether two runs asked for the same thing; how often does not
// matter. One of the two may come from a file, so numbers are compared as JSON.
func comparable(a, b *record.Run) bool {
	strip := func(r *record.Run) string {
		config := maps.Clone(r.Config)
		delete(config, "repetitions")
		raw, err := json.Marshal(config) // keys sorted
		if err != nil {
			panic("BUG: a configuration that is no JSON: " + err.Error())
		}
		return string(raw)
	}
	return strip(a) == strip(b)
}

// rateSlack is how far two offered rates may lie apart and still ask for the
// same: a response time grows steeply with the rate.
const rateSlack = 0.02

// sameRate says whether two arms were offered the same rate; saturating arms are
// offered none.
func sameRate(a, b *record.Arm) bool {
	x, y := a.Values("offered"), b.Values("offered")
	if len(x) == 0 || len(y) == 0 {
		return len(x) == len(y)
	}
	return math.Abs(stats.Median(x)/stats.Median(y)-1) <= rateSlack
}

// observedPhase says which states of WAL space an arm's timed windows met.
const observedPhase = "wal-phase"

func phaseOf(arm *record.Arm) string {
	if phase := arm.Observed[observedPhase]; phase != "" {
		return phase
	}
	return "-"
}

// changeWord says which way the repetitions a went from b, if the quantity has a
// better side, and if no repetition of one lies among those of the other: more
// than that a single run against a single run does not show.
func changeWord(a, b []float64, unit record.Unit) string {
	up, down := slices.Min(a) > slices.Max(b), slices.Max(a) < slices.Min(b)
	switch {
	case !up && !down:
		return "no difference beyond the repetitions' own"
	case unit.Better == "":
		return ""
	case up == (unit.Better == "higher"):
		return "better"
	}
	return "worse"
}
