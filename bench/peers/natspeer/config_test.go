package natspeer

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestConfigDefaults(t *testing.T) {
	c := Config{Dir: "d"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Sync != SyncAlways || c.Streams != 8 || c.Publishers != 8 || c.Pending != 2048 || c.SizeBytes != 1024 || len(c.Server) != 2 {
		t.Errorf("%+v", c)
	}
	c = Config{Dir: "d", ClosedLoop: 64}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Publishers != 64 || c.Pending != 1 || c.mode() != "closed" {
		t.Errorf("%+v", c)
	}
	again := c
	if err := again.Validate(); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("%+v became %+v: %v", c, again, err)
	}
}

func TestDefaultPending(t *testing.T) {
	for _, c := range []struct{ size, streams, publishers, want int }{
		{1024, 8, 8, 2048}, {1024, 8, 2, 8192}, {1024, 1, 8, 256}, {100, 8, 8, 4096}, {64 << 10, 8, 8, 32}, {1 << 20, 8, 8, 32}, {1024, 256, 1, pendingMax},
	} {
		cfg := Config{Dir: "d", SizeBytes: c.size, Streams: c.streams, Publishers: c.publishers}
		if err := cfg.Validate(); err != nil || cfg.Pending != c.want {
			t.Errorf("%+v: %d pending, %v", c, cfg.Pending, err)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	for want, c := range map[string]Config{
		"no directory":          {},
		"want always":           {Sync: "often"},
		"want leader":           {Connect: "any"},
		"want counts":           {Verify: "all"},
		"want 1 to 256":         {Streams: 257},
		"messages of 31 bytes":  {SizeBytes: 31},
		"pending messages":      {Pending: pendingMax + 1},
		"rate NaN":              {Rate: math.NaN()},
		"rate -1":               {Rate: -1},
		"has no rate":           {ClosedLoop: 2, Rate: 3},
		"leave publishers":      {ClosedLoop: 2, Publishers: 3},
		"closed-loop clients":   {ClosedLoop: -1},
		"a warm-up of -1s":      {Warmup: -time.Second},
		"a window of 1ms":       {Window: time.Millisecond},
		"at most 512 MiB":       {SizeBytes: 1 << 20, Publishers: 8, Pending: 128},
		"0 to 1h0m0s; a window": {Warmup: 2 * time.Hour, Window: 2 * time.Hour},
	} {
		if want != "no directory" {
			c.Dir = "d"
		}
		if err := c.Validate(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

func TestDataDirectory(t *testing.T) {
	root := t.TempDir()
	fresh := filepath.Join(root, "a", "b")
	for _, dir := range []string{fresh, t.TempDir()} {
		made, err := makeDir(dir)
		if err != nil || made != (dir == fresh) {
			t.Fatalf("%s: made %v, %v", dir, made, err)
		}
		if err := os.MkdirAll(filepath.Join(dir, nodeName(1), "jetstream"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := makeDir(dir); !errors.Is(err, ErrUsage) {
			t.Errorf("a directory with data was taken: %v", err)
		}
		if err := clearDir(dir, made); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) != made {
			t.Errorf("%s, made %v, afterwards: %v", dir, made, err)
		}
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := makeDir(file); !errors.Is(err, ErrUsage) {
		t.Errorf("a file was taken for a directory: %v", err)
	}
}
