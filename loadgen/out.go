package loadgen

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// WriteDir writes the run's files into dir, which it makes if need be: load.json (the dyno.load/1 object), detail.json,
// load.prom (WritePrometheus), latency.hlog, one NAME.hgrm per measured series, series.jsonl and series.csv. It overwrites.
func (r *Result) WriteDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	files := map[string]func(io.Writer) error{
		"load.json": func(w io.Writer) error {
			raw, err := r.JSON()
			if err == nil {
				_, err = w.Write(raw)
			}
			return err
		},
		"detail.json": func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(&r.Detail)
		},
		"latency.hlog": r.WriteLog,
		"series.jsonl": r.WriteSeries,
		"series.csv":   r.WriteCSV,
	}
	for s, h := range r.hists {
		if h != nil {
			files[seriesNames[s]+".hgrm"] = func(w io.Writer) error { return WritePercentiles(w, h) }
		}
	}
	for name, write := range files {
		if err := writeFile(filepath.Join(dir, name), write); err != nil {
			return fmt.Errorf("results: %s: %w", name, err)
		}
	}
	if err := r.WritePrometheus(filepath.Join(dir, "load.prom")); err != nil {
		return fmt.Errorf("results: load.prom: %w", err)
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

const (
	hgrmTicks = 5   // percentile lines per halving, as HdrHistogram's plotter expects
	hgrmScale = 1e6 // ns -> ms
)

// WritePercentiles writes a histogram of ns as an .hgrm percentile table in ms.
func WritePercentiles(w io.Writer, h *hdr.Histogram) error {
	_, err := h.PercentilesPrint(w, hgrmTicks, hgrmScale)
	return err
}

// WriteLog writes the per-second histograms as a HdrHistogram log: V2 payloads in ns, maxima in ms, one line per second and series
// with the tags response, service, delay and e2e. Start times are absolute to the millisecond, so no base time is written.
// A run without a schedule has service lines equal to its response lines.
func (r *Result) WriteLog(w io.Writer) error {
	log := hdr.NewHistogramLogWriter(w)
	if err := errors.Join(log.OutputLogFormatVersion(), log.OutputComment("[dyno load, values in ns]"),
		log.OutputStartTime(r.begun.UnixMilli()), log.OutputLegend()); err != nil {
		return err
	}
	alias := r.hists[seriesService] != nil && r.hists[seriesService] == r.hists[seriesResponse]
	for i := range r.intervals {
		iv := &r.intervals[i]
		for s := range seriesCount {
			enc := iv.encoded[s]
			if s == seriesService && alias {
				enc = iv.encoded[seriesResponse]
			}
			if enc == nil {
				continue
			}
			if err := r.writeInterval(log, iv, seriesNames[s], enc); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Result) writeInterval(log *hdr.HistogramLogWriter, iv *interval, tag string, enc []byte) error {
	h, err := hdr.Decode(enc)
	if err != nil {
		return fmt.Errorf("interval %s: %w", tag, err)
	}
	begun, zero := r.begun.UnixMilli(), r.intervals[0].start
	h.SetTag(tag)
	h.SetStartTimeMs(begun + (iv.start-zero)/1e6)
	h.SetEndTimeMs(begun + (iv.end-zero)/1e6)
	return log.OutputIntervalHistogram(h)
}
