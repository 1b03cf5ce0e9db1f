package loadgen

import (
	"context"
	"testing"
)

// BenchmarkVerify reads 300,000 records of 1 KiB back from a fake cluster, which costs more than the reader.
func BenchmarkVerify(b *testing.B) {
	c := fake(b)
	cfg := small(c)
	cfg.Duration, cfg.Records, cfg.Verify = 0, 300_000, false
	cfg.setDefaults()
	s := &session{cfg: cfg, io: -1}
	defer s.close()
	if err := s.open(context.Background()); err != nil {
		b.Fatal(err)
	}
	if err := s.run(context.Background()); err != nil {
		b.Fatal(err)
	}
	s.cfg.Verify = true
	b.SetBytes(300_000 * 1024)
	for b.Loop() {
		for _, p := range s.load.producers { // forget what was seen
			for i := range p.ledger.parts {
				p.ledger.parts[i].seen, p.ledger.parts[i].at = nil, 0
			}
		}
		v, err := s.verify(context.Background())
		if err != nil || v.Read != 300_000 || v.Lost != 0 {
			b.Fatal(v, err)
		}
	}
}
