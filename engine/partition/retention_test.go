package partition

import (
	"testing"

	"dyno/engine/ids"
)

func TestRetain(t *testing.T) {
	files := []LogFile{
		{Base: 0, End: 10, MaxTimestampMS: 100, Bytes: 1000},
		{Base: 10, End: 20, MaxTimestampMS: 300, Bytes: 1000},
		{Base: 20, End: 30, MaxTimestampMS: 200, Bytes: 1000},
		{Base: 30, End: 40, MaxTimestampMS: 400, Bytes: 500},
	}
	for name, tc := range map[string]struct {
		ms, bytes int64
		now       int64
		start     ids.Offset
		files     []LogFile
		want      ids.Offset
	}{
		"for ever":                     {-1, -1, 1 << 40, 0, files, 0},
		"nothing old":                  {1000, -1, 500, 0, files, 0},
		"one old":                      {100, -1, 300, 0, files, 10},
		"exactly as old is kept":       {100, -1, 200, 0, files, 0},
		"a newer one shields":          {100, -1, 350, 0, files, 10},
		"all but the last":             {100, -1, 450, 0, files, 30},
		"all":                          {100, -1, 501, 0, files, 40},
		"zero time":                    {0, -1, 401, 0, files, 40},
		"bytes not reached":            {-1, 3500, 0, 0, files, 0},
		"bytes not without a file":     {-1, 2501, 0, 0, files, 0},
		"bytes exactly":                {-1, 2500, 0, 0, files, 10},
		"few bytes":                    {-1, 600, 0, 0, files, 20},
		"no bytes":                     {-1, 0, 0, 0, files, 40},
		"both":                         {100, 1500, 300, 0, files, 20},
		"start inside":                 {-1, 2500, 0, 5, files, 10},
		"start counts what is left":    {-1, 2500, 0, 10, files, 10},
		"start beyond all":             {0, 0, 1 << 40, 40, files, 40},
		"no files":                     {0, 0, 1 << 40, 7, nil, 7},
		"without timestamps time ends": {0, -1, 1 << 40, 0, []LogFile{{Base: 0, End: 5, MaxTimestampMS: -1, Bytes: 9}}, 0},
		"without timestamps by bytes":  {-1, 0, 1 << 40, 0, []LogFile{{Base: 0, End: 5, MaxTimestampMS: -1, Bytes: 9}}, 5},
	} {
		s := &Settings{RetentionMS: tc.ms, RetentionBytes: tc.bytes}
		if got := Retain(s, tc.start, tc.files, tc.now); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// TestHousekeep lets a leader's commands run through the log.
func TestHousekeep(t *testing.T) {
	l := newFakeLog(t, Config{Settings: Settings{RetentionMS: -1, RetentionBytes: -1}, ProducerExpiryMS: 2400})
	l.lead()
	for i := range int32(2 * chunkBatches) {
		s := idem(7, 0, 2*i, 2)
		s.recs[1].value = string(make([]byte, 2000)) // stretches of a chunk each
		l.put(s)
	}
	run := func(nowMS int64, want ...[]byte) {
		t.Helper()
		got := l.p.Housekeep(nowMS, nil)
		if len(got) != len(want) {
			t.Fatalf("at %d: %x, want %x", nowMS, got, want)
		}
		for i, c := range got {
			if string(c) != string(want[i]) {
				t.Fatalf("at %d: %x, want %x", nowMS, got, want)
			}
			if err := l.command(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(5000, ClockCommand(5000))
	run(5050) // not yet
	run(5100, ClockCommand(5100))
	if n := l.p.Stats().Producers; n != 1 {
		t.Fatalf("%d producers", n)
	}
	run(7400, ClockCommand(7400)) // the producer wrote before 5000: 2400 ms ago
	if s := l.p.Stats(); s.Producers != 0 || s.ProducersExpired != 1 {
		t.Fatalf("%+v", s)
	}
	run(90000)
	l.p.SetSettings(Settings{RetentionMS: -1, RetentionBytes: 1 << 20})
	run(90000, LogStartCommand(2*chunkBatches))
	if o := l.p.Offsets(); o.LogStart != 2*chunkBatches {
		t.Fatalf("%+v", o)
	}
	run(90000)
	if n := l.p.Needed(); n != ids.LogIndex(1+chunkBatches+1) {
		t.Fatalf("needed from log index %d", n)
	}
	l.p.SetSettings(Settings{RetentionMS: 1000, RetentionBytes: -1})
	run(90000, LogStartCommand(4*chunkBatches))
	if n := l.p.Needed(); n != l.p.Applied()+1 {
		t.Fatalf("needed from log index %d, applied %d", n, l.p.Applied())
	}
	run(90000)
}
