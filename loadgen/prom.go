package loadgen

import (
	"github.com/prometheus/client_golang/prometheus"
)

// WritePrometheus writes the result in Prometheus' text format to the file path, all at once, for the textfile collector of a
// node exporter. What was not measured is left out.
func (r *Result) WritePrometheus(path string) error {
	reg := prometheus.NewRegistry()
	run := prometheus.Labels{"mode": r.Detail.Mode}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "dyno", Subsystem: "load", Name: name, Help: help, ConstLabels: run}, labels)
		reg.MustRegister(g)
		return g
	}
	records := gauge("records", "Records of the whole run by what became of them.", "fate")
	fates := map[string]*int64{"consumed": r.Consumed, "lost": r.Lost, "duplicated": r.Duplicated, "reordered": r.Reordered, "corrupted": r.Corrupted}
	if r.Detail.Mode != modeRead {
		fates["sent"], fates["acked"], fates["failed"], fates["unknown"] = &r.Sent, &r.Acked, &r.Failed, &r.Unknown
	}
	for fate, n := range fates {
		if n != nil {
			records.WithLabelValues(fate).Set(float64(*n))
		}
	}
	gauge("records_per_second", "Records a second over the timed window: of the cluster's end offsets, or read.").WithLabelValues().Set(r.MsgsPerS)
	gauge("bytes_per_second", "Bytes of keys and values a second over the timed window.").WithLabelValues().Set(r.BytesPerS)
	gauge("client_cpu_seconds", "Processor time of the load generator over the timed window.").WithLabelValues().Set(r.ClientCPUS)
	latency := gauge("latency_seconds", "Quantiles of the timed window by what is measured; see the load generator's documentation.", "series", "quantile")
	for i, q := range []*Quantiles{r.Response, r.Service, r.Delay, r.E2E} {
		if q == nil {
			continue
		}
		for quantile, ns := range map[string]int64{"0.5": q.P50, "0.9": q.P90, "0.99": q.P99, "0.999": q.P999, "1": q.Max} {
			latency.WithLabelValues(seriesNames[i], quantile).Set(float64(ns) / 1e9)
		}
	}
	return prometheus.WriteToTextfile(path, reg)
}
