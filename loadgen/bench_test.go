package loadgen

import (
	"context"
	"testing"
	"time"
)

// benchProducer makes one saturating producer without a network; discard answers at once, as the client's promise would.
func benchProducer(b testing.TB, cfg Config) *producer {
	b.Helper()
	cfg.Brokers, cfg.Producers = []string{"unused:1"}, 1
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		b.Fatal(err)
	}
	f := &flight{cfg: &cfg, clk: newClock(), run: 1, partitions: 8}
	p := newProducer(f, 0, newRecorder(measured(&cfg)...))
	p.discard = func(s *slot) { s.promise(nil, nil) }
	return p
}

// BenchmarkGenerator is the generator's own work per record, stamp to promise, without the client library.
func BenchmarkGenerator(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"1KiB", Config{}},
		{"1KiB-rate-zipf", Config{Rate: 1e6, Workload: Workload{Keys: Keys{Kind: "zipf"}}}},
		{"lognormal", Config{Workload: Workload{Size: Size{Mean: 1024}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := benchProducer(b, c.cfg)
			b.ReportAllocs()
			for b.Loop() {
				now := p.f.clk.now()
				p.emit(p.free.pop(), now, now)
			}
		})
	}
}

// BenchmarkCapacity is the generator with the client library against a null sink: records/s.
func BenchmarkCapacity(b *testing.B) {
	for _, cfg := range []Config{{}, {ClosedLoop: 64}, {Acks: AcksLeader}} {
		cfg.Brokers = []string{"unused:1"}
		cfg.setDefaults()
		b.Run(cfg.mode()+"-acks-"+cfg.Acks.String(), func(b *testing.B) {
			cfg.ProbeDuration = 2 * time.Second
			cpu, _ := cpuSeconds()
			rate, n := 0.0, 0
			for b.Loop() {
				r, err := probeCapacity(context.Background(), &cfg, 8)
				if err != nil {
					b.Fatal(err)
				}
				rate += r
				n++
			}
			end, _ := cpuSeconds()
			b.ReportMetric(rate/float64(n), "records/s")
			b.ReportMetric((end-cpu)/rate/2*1e6, "cpu-us/record")
		})
	}
}
