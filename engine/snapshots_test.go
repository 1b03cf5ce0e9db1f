package engine

import (
	"log/slog"
	"testing"

	"dyno/engine/ids"
	"dyno/wal"
	"dyno/wal/vfs"
)

// TestRealign: a log beside the state of a newer snapshot goes on behind it,
// whether it is shorter or holds another leader's entries there; one that fits is
// left alone.
func TestRealign(t *testing.T) {
	for name, c := range map[string]struct {
		last       uint64 // the log holds [1, last] of term 3
		at         ids.LogIndex
		term       ids.Term
		first, end uint64 // what it holds afterwards
	}{
		"shorter":          {5, 9, 4, 10, 9},
		"fits":             {10, 5, 3, 1, 10},
		"another leader's": {10, 5, 4, 6, 5},
		"ends there":       {5, 5, 3, 1, 5},
		"no snapshot":      {5, 0, 0, 1, 5},
		"no log":           {0, 7, 2, 8, 7},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := wal.Open(wal.Options{FS: vfs.NewMem(1), Dir: "w", SegmentBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			n := &Node{cfg: Config{Log: slog.New(slog.DiscardHandler)}, log: log}
			var records []wal.Record
			for i := range c.last {
				records = append(records, wal.Record{Stream: 7, Kind: wal.KindEntry, Index: i + 1, Term: 3, Data: []byte("x")})
			}
			if c.last > 0 {
				done := make(chan error, 1)
				if err := log.Submit(&wal.Append{Records: records, Sync: true, Done: func(err error) { done <- err }}); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // a second time changes nothing
				if err := n.realign(7, c.at, c.term); err != nil {
					t.Fatal(err)
				}
				info, _ := log.Info(7)
				if info.First != c.first || info.Last != c.end || c.first == uint64(c.at)+1 && info.PrevTerm != uint64(c.term) {
					t.Errorf("the log holds %+v, want [%d, %d]", info, c.first, c.end)
				}
			}
		})
	}
}
