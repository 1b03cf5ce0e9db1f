package loadgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteText writes the result as a table for people.
func (r *Result) WriteText(w io.Writer) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	d := &r.Detail
	if d.Mode == modeRead {
		r.writeRead(t)
		return flush(w, t, &b)
	}
	fmt.Fprintf(t, "mode\t%s, acks %s, %d partitions, window %v\n", d.Mode, r.acks, d.Partitions, d.Window.Round(time.Millisecond))
	fmt.Fprintf(t, "throughput\t%.0f msg/s, %.1f MB/s (%d records in the end offsets)\n", r.MsgsPerS, r.BytesPerS/1e6, d.Confirmed)
	acked := "acked"
	if r.acks == AcksNone {
		acked = "written"
	}
	fmt.Fprintf(t, "records\t%d sent, %d %s, %d failed, %d unknown\n", r.Sent, r.Acked, acked, r.Failed, r.Unknown)
	if d.Live != nil {
		fmt.Fprintf(t, "live consumers\t%d records\n", *d.Live)
	}
	r.writeVerification(t)
	fmt.Fprintf(t, "client CPU\t%.2f s", r.ClientCPUS)
	if d.Confirmed > 0 {
		fmt.Fprintf(t, ", %.2f s per million records", r.ClientCPUS*1e6/float64(d.Confirmed))
	}
	fmt.Fprintln(t)
	r.writeLimits(t)
	fmt.Fprintln(t, "\nlatency\tp50\tp90\tp99\tp99.9\tmax")
	for i, q := range []*Quantiles{r.Response, r.Service, r.Delay, r.E2E} {
		if q != nil {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", seriesNames[i], ms(q.P50), ms(q.P90), ms(q.P99), ms(q.P999), ms(q.Max))
		}
	}
	return flush(w, t, &b)
}

func flush(w io.Writer, t *tabwriter.Writer, b *bytes.Buffer) error {
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writeRead is the table of a run that sent nothing.
func (r *Result) writeRead(w io.Writer) {
	d, v := &r.Detail, r.Detail.Verification
	fmt.Fprintf(w, "mode\t%s, %d partitions, for %v\n", d.Mode, d.Partitions, d.Window.Round(time.Millisecond))
	fmt.Fprintf(w, "throughput\t%.0f msg/s, %.1f MB/s\n", r.MsgsPerS, r.BytesPerS/1e6)
	fmt.Fprintf(w, "records\t%d read of %d offsets; %d corrupted\n", *r.Consumed, d.Confirmed, v.Corrupted)
	writeOffences(w, v)
	if v.Undecodable > 0 {
		fmt.Fprintf(w, "  undecodable\t%d partitions end in a batch that no client can read\n", v.Undecodable)
	}
	if v.Foreign > 0 {
		fmt.Fprintf(w, "  foreign\t%d records that no load generator wrote: of them the batches' checksums alone were compared\n", v.Foreign)
	}
	fmt.Fprintf(w, "client CPU\t%.2f s", r.ClientCPUS)
	if *r.Consumed > 0 {
		fmt.Fprintf(w, ", %.2f s per million records", r.ClientCPUS*1e6/float64(*r.Consumed))
	}
	fmt.Fprintln(w)
}

func (r *Result) writeVerification(w io.Writer) {
	v := r.Detail.Verification
	if v == nil {
		fmt.Fprintln(w, "verified\tno")
		return
	}
	fmt.Fprintf(w, "verified\t%d read back: %d lost, %d duplicated, %d reordered, %d corrupted%s\n",
		v.Read, v.Lost, v.Duplicated, v.Reordered, v.Corrupted, v.rare())
	writeOffences(w, v)
	if v.Foreign > 0 {
		fmt.Fprintf(w, "  foreign\t%d records of other writers between ours; the throughput counts them\n", v.Foreign)
	}
}

func writeOffences(w io.Writer, v *Verification) {
	for _, o := range v.Offences {
		at := fmt.Sprintf("offset %d", o.Offset)
		if o.Offset < 0 {
			at = "acknowledged, absent"
		}
		fmt.Fprintf(w, "  %s\tpartition %d, %s, producer %d, sequence %d\n", o.Kind, o.Partition, at, o.Producer, o.Seq)
	}
}

// writeLimits says what stood in the way.
func (r *Result) writeLimits(w io.Writer) {
	d := &r.Detail
	fmt.Fprintf(w, "saturated\t%s", r.Saturated)
	if d.Why != "" {
		fmt.Fprintf(w, " (%s)", d.Why)
	}
	fmt.Fprintln(w)
	if d.Capacity > 0 {
		fmt.Fprintf(w, "generator\t%.0f msg/s against a null sink\n", d.Capacity)
	}
	if d.Backpressure > 0 {
		fmt.Fprintf(w, "backpressure\t%d times no buffer was free\n", d.Backpressure)
	}
	if d.Censored > 0 {
		fmt.Fprintf(w, "censored\t%d records due and never acknowledged; the response holds them at a lower bound\n", d.Censored)
	}
	if d.Overflow > 0 {
		fmt.Fprintf(w, "overflow\t%d values above %v\n", d.Overflow, time.Duration(histHigh))
	}
	if s := d.Steady; s.Checked && !s.Stable {
		fmt.Fprintf(w, "unstable\tthe rate had not settled after %d s: lengthen --warmup or the run\n", s.TransientS)
	}
	msgs := make([]string, 0, len(d.Errors))
	for m := range d.Errors {
		msgs = append(msgs, m)
	}
	slices.Sort(msgs)
	for _, m := range msgs {
		fmt.Fprintf(w, "error\t%d x %s\n", d.Errors[m], m)
	}
}

func ms(ns int64) string { return fmt.Sprintf("%.3f ms", float64(ns)/1e6) }

// seriesLine is one second of series.jsonl; latencies are of records answered in that second.
type seriesLine struct {
	StartNs      int64      `json:"start_ns"` // since the start of the run
	EndNs        int64      `json:"end_ns"`
	Warmup       bool       `json:"warmup"`
	Sent         int64      `json:"sent"`
	Acked        int64      `json:"acked"`
	Failed       int64      `json:"failed"`
	Unknown      int64      `json:"unknown"`
	Consumed     int64      `json:"consumed"`
	Backpressure int64      `json:"backpressure"`
	Response     *Quantiles `json:"response_ns"`
	Service      *Quantiles `json:"service_ns"`
	Delay        *Quantiles `json:"delay_ns"`
	E2E          *Quantiles `json:"e2e_ns"`
}

func (r *Result) seriesLines() []seriesLine {
	lines := make([]seriesLine, len(r.intervals))
	for i := range r.intervals {
		iv := &r.intervals[i]
		q := iv.quantiles
		lines[i] = seriesLine{
			StartNs: iv.start - r.intervals[0].start, EndNs: iv.end - r.intervals[0].start, Warmup: iv.warmup,
			Sent: iv.sent, Acked: iv.count.acked, Failed: iv.count.failed, Unknown: iv.count.unknown, Consumed: iv.count.consumed,
			Backpressure: iv.full,
			Response:     q[seriesResponse], Service: q[seriesService], Delay: q[seriesDelay], E2E: q[seriesE2E],
		}
	}
	return lines
}

// WriteSeries writes one JSON line per second of the run.
func (r *Result) WriteSeries(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, l := range r.seriesLines() {
		if err := enc.Encode(&l); err != nil {
			return err
		}
	}
	return nil
}

// WriteCSV writes the per-second series for spreadsheets; an empty field was not measured.
func (r *Result) WriteCSV(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("start_s,end_s,warmup,sent,acked,failed,unknown,consumed,backpressure")
	for _, name := range seriesNames {
		fmt.Fprintf(&b, ",%[1]s_p50_ns,%[1]s_p99_ns,%[1]s_p999_ns,%[1]s_max_ns", name)
	}
	b.WriteByte('\n')
	for _, l := range r.seriesLines() {
		fmt.Fprintf(&b, "%.3f,%.3f,%t,%d,%d,%d,%d,%d,%d", float64(l.StartNs)/1e9, float64(l.EndNs)/1e9, l.Warmup,
			l.Sent, l.Acked, l.Failed, l.Unknown, l.Consumed, l.Backpressure)
		for _, q := range []*Quantiles{l.Response, l.Service, l.Delay, l.E2E} {
			if q == nil {
				b.WriteString(",,,,")
				continue
			}
			fmt.Fprintf(&b, ",%d,%d,%d,%d", q.P50, q.P99, q.P999, q.Max)
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}
