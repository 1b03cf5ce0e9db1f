package loadgen

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func filled(w Workload) Workload {
	w.setDefaults()
	return w
}

func TestSizes(t *testing.T) {
	w := filled(Workload{Size: Size{Mean: 1000, Sigma: 0.5}})
	d := newDraws(&w, 1, 0)
	sum, large := 0.0, 0
	for range drawsPerRing {
		size, _ := d.next()
		if size < headerBytes || int(size) > w.Size.Max {
			t.Fatalf("size %d outside %d..%d", size, headerBytes, w.Size.Max)
		}
		sum += float64(size)
		if size > 1000 {
			large++
		}
	}
	if mean := sum / drawsPerRing; math.Abs(mean-1000) > 20 {
		t.Errorf("mean %v, want 1000", mean)
	}
	// A log-normal's share above its mean is Phi(-sigma/2) = 0.401.
	if s := float64(large) / drawsPerRing; math.Abs(s-0.401) > 0.02 {
		t.Errorf("share above the mean %v, want 0.401", s)
	}
}

func TestKeys(t *testing.T) {
	share := func(k Keys, below int32) float64 {
		w := filled(Workload{Keys: k})
		d, n := newDraws(&w, 3, 0), 0
		for range drawsPerRing {
			if _, key := d.next(); key < below {
				if key < 0 || int(key) >= w.Keys.Count {
					t.Fatalf("key %d outside the set", key)
				}
				n++
			}
		}
		return float64(n) / drawsPerRing
	}
	for _, c := range []struct {
		keys  Keys
		below int32
		want  float64
	}{
		{Keys{Kind: "uniform", Count: 1000}, 100, 0.1},
		{Keys{Kind: "hot", Count: 1000, Hot: 10, Share: 0.8}, 10, 0.8},
		{Keys{Kind: "zipf", Count: 1000, Skew: 2}, 1, 1 / 1.6439}, // 1 over the sum of k^-2 to 1,000
	} {
		if got := share(c.keys, c.below); math.Abs(got-c.want) > 0.02 {
			t.Errorf("%s: share %v, want %v", &c.keys, got, c.want)
		}
	}
	w := filled(Workload{})
	if _, key := newDraws(&w, 1, 0).next(); key != -1 {
		t.Errorf("key %d without keys", key)
	}
	var b [keyBytes]byte
	putKey(b[:], 12345)
	if string(b[:]) != "key-000000012345" {
		t.Errorf("key %q", b)
	}
}

func TestSlotsFollowSizesAndSeeds(t *testing.T) {
	w := filled(Workload{Size: Size{Mean: 200, Sigma: 1}})
	a, b, c := newSlots(500, &w, 1, 0), newSlots(500, &w, 1, 0), newSlots(500, &w, 2, 0)
	sizes := map[int]bool{}
	for i := range a {
		if !bytes.Equal(a[i].value, b[i].value) {
			t.Fatal("the same seed makes another payload")
		}
		if a[i].body != bodyCRC(a[i].value) {
			t.Fatal("a body's checksum is wrong")
		}
		sizes[a[i].size] = true
	}
	if len(sizes) < 50 {
		t.Errorf("%d different sizes in 500 slots", len(sizes))
	}
	if bytes.Equal(a[0].value[headerBytes:headerBytes+1], c[0].value[headerBytes:headerBytes+1]) &&
		bytes.Equal(a[1].value, c[1].value) {
		t.Error("another seed makes the same payload")
	}
}

// TestCompressibility: gzip and zstd reach about the share asked for; an incompressible payload grows.
func TestCompressibility(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for _, want := range []float64{0, 0.25, 0.5, 0.9} {
		w := filled(Workload{Size: Size{Fixed: 4096}, Compressibility: want})
		var raw []byte
		for _, s := range newSlots(64, &w, 1, 0) {
			raw = append(raw, s.value...)
		}
		var gz bytes.Buffer
		zw := gzip.NewWriter(&gz)
		if _, err := zw.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		for name, size := range map[string]int{"gzip": gz.Len(), "zstd": len(enc.EncodeAll(raw, nil))} {
			if saved := 1 - float64(size)/float64(len(raw)); math.Abs(saved-want) > 0.05 {
				t.Errorf("%s saves %.3f, want %.2f", name, saved, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"1024", "lognormal:1000:0.5:16000"} {
		s, err := ParseSize(text)
		if err != nil || s.String() != text {
			t.Errorf("size %q reads back as %q, %v", text, &s, err)
		}
	}
	for _, text := range []string{"none", "uniform:10", "zipf:10:1.5", "hot:100:5:0.5"} {
		k, err := ParseKeys(text)
		if err != nil || k.String() != text {
			t.Errorf("keys %q read back as %q, %v", text, &k, err)
		}
	}
	for _, text := range []string{"", "-1", "x", "lognormal", "lognormal:x", "lognormal:1:2:3:4", "normal:5"} {
		if _, err := ParseSize(text); !errors.Is(err, ErrUsage) {
			t.Errorf("size %q: %v", text, err)
		}
	}
	for _, text := range []string{"", "none:1", "uniform:x", "zipf:1:2:3", "hot:-1", "warm:2", "uniform:NaN"} {
		if _, err := ParseKeys(text); !errors.Is(err, ErrUsage) {
			t.Errorf("keys %q: %v", text, err)
		}
	}
	for _, text := range []string{"", "plain", "plain::f", "md5:u:f", "plain:u:"} {
		if _, err := ParseSASL(text); !errors.Is(err, ErrUsage) {
			t.Errorf("sasl %q: %v", text, err)
		}
	}
	if s, err := ParseSASL("scram-512:u:a:b"); err != nil || s != (SASLConfig{"SCRAM-SHA-512", "u", "a:b"}) {
		t.Errorf("sasl: %+v, %v", s, err)
	}
}

func TestWorkloadFile(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "w.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	full := write(`# a shop
size: lognormal:1024:0.5
keys: zipf:1000:1.2
compressibility: 0.6
compression: lz4
acks: 1
rate: 20000
arrivals: burst
burst: {period: 2s, duty: 0.1}
warmup: 5s
duration: 60s
seed: 9
`)
	cfg := Config{Compression: "zstd"}
	given := func(flag string) bool { return flag == "compression" }
	if err := ApplyWorkloadFile(full, &cfg, given); err != nil {
		t.Fatal(err)
	}
	want := Config{
		Compression: "zstd", Acks: AcksLeader, Rate: 20_000, Warmup: 5 * time.Second, Duration: time.Minute, Seed: 9,
		Profile:  Profile{Arrivals: Burst, BurstPeriod: 2 * time.Second, BurstDuty: 0.1},
		Workload: Workload{Size: Size{Mean: 1024, Sigma: 0.5}, Keys: Keys{Kind: "zipf", Count: 1000, Skew: 1.2}, Compressibility: 0.6},
	}
	if fmt.Sprintf("%+v", cfg) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	// A pace given by flag overrides the file's, whichever of the two it is.
	cfg = Config{ClosedLoop: 4}
	if err := ApplyWorkloadFile(full, &cfg, func(f string) bool { return f == "closed-loop" }); err != nil || cfg.Rate != 0 {
		t.Errorf("rate %v, %v", cfg.Rate, err)
	}
	for text, part := range map[string]string{
		"size: 1024\nratee: 5\n":           "[2:1]",
		"rate: fast\n":                     "[1:7]",
		"burst:\n  period: 1s\n  dutty: 1": "[3:3]",
		"keys: warm\n":                     "keys",
		"duration: 5\n":                    "duration",
	} {
		err := ApplyWorkloadFile(write(text), &Config{}, func(string) bool { return false })
		if !errors.Is(err, ErrUsage) || !strings.Contains(fmt.Sprint(err), part) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%q: %v, want one line with %s", text, err, part)
		}
	}
	if err := ApplyWorkloadFile("no/such/file", &cfg, given); !errors.Is(err, ErrUsage) {
		t.Errorf("missing file: %v", err)
	}
	if err := ApplyWorkloadFile(write(""), &cfg, given); err != nil {
		t.Errorf("empty file: %v", err)
	}
}
