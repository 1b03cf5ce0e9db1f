package loadgen

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// workloadFile is the YAML form of a workload. Every key is optional; an unknown one is an error. The keys that share a name with
// a flag mean what the flag means.
//
//	size: 1024                       # or lognormal:1024:0.5
//	keys: zipf:100000:1.2
//	compressibility: 0.6
//	compression: lz4
//	rate: 20000
//	arrivals: burst
//	burst: {period: 1s, duty: 0.2}
//	steps: 5
//	warmup: 5s
//	duration: 60s
type workloadFile struct {
	Size            *string  `yaml:"size"`
	Keys            *string  `yaml:"keys"`
	Compressibility *float64 `yaml:"compressibility"`
	Compression     *string  `yaml:"compression"`
	Acks            *string  `yaml:"acks"`
	Rate            *float64 `yaml:"rate"`
	ClosedLoop      *int     `yaml:"closed-loop"`
	Arrivals        *string  `yaml:"arrivals"`
	Burst           *struct {
		Period *string  `yaml:"period"`
		Duty   *float64 `yaml:"duty"`
	} `yaml:"burst"`
	Steps     *int    `yaml:"steps"`
	Warmup    *string `yaml:"warmup"`
	Duration  *string `yaml:"duration"`
	Records   *int64  `yaml:"records"`
	Producers *int    `yaml:"producers"`
	Consumers *int    `yaml:"consumers"`
	Linger    *string `yaml:"linger"`
	Seed      *uint64 `yaml:"seed"`
}

// ApplyWorkloadFile reads a YAML workload into cfg, but for the settings whose flag was given. Errors wrap ErrUsage and carry file,
// line and column.
func ApplyWorkloadFile(path string, cfg *Config, given func(flag string) bool) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: workload: %w", ErrUsage, err)
	}
	var w workloadFile
	dec := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict())
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := dec.Decode(&w); err != nil {
			return fmt.Errorf("%w: workload %s: %s", ErrUsage, path, oneLine(err))
		}
	}
	if err := w.apply(cfg, given); err != nil {
		return fmt.Errorf("workload %s: %w", path, err)
	}
	return nil
}

// oneLine keeps the first line of a YAML error, "[line:column] message", without the excerpt of the file below it.
func oneLine(err error) string {
	line, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	return line
}

func (w *workloadFile) apply(cfg *Config, given func(string) bool) error {
	set(&cfg.Workload.Compressibility, w.Compressibility, given("compressibility"))
	set(&cfg.Compression, w.Compression, given("compression"))
	// The two paces exclude each other, so a flag for either overrides both of the file's.
	paced := given("rate") || given("closed-loop")
	set(&cfg.Rate, w.Rate, paced)
	set(&cfg.ClosedLoop, w.ClosedLoop, paced)
	set(&cfg.Profile.Steps, w.Steps, false)
	ended := given("duration") || given("records")
	set(&cfg.Records, w.Records, ended)
	set(&cfg.Producers, w.Producers, given("producers"))
	set(&cfg.Consumers, w.Consumers, given("consumers"))
	set(&cfg.Seed, w.Seed, given("seed"))
	if w.Burst != nil {
		set(&cfg.Profile.BurstDuty, w.Burst.Duty, false)
		if err := parse(&cfg.Profile.BurstPeriod, w.Burst.Period, false, parseDuration); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		dst   *time.Duration
		text  *string
		given bool
	}{{&cfg.Warmup, w.Warmup, given("warmup")}, {&cfg.Duration, w.Duration, ended}, {&cfg.Linger, w.Linger, given("linger")}} {
		if err := parse(d.dst, d.text, d.given, parseDuration); err != nil {
			return err
		}
	}
	if err := parse(&cfg.Workload.Size, w.Size, given("size"), ParseSize); err != nil {
		return err
	}
	if err := parse(&cfg.Workload.Keys, w.Keys, given("keys"), ParseKeys); err != nil {
		return err
	}
	if err := parse(&cfg.Acks, w.Acks, given("acks"), ParseAcks); err != nil {
		return err
	}
	return parse(&cfg.Profile.Arrivals, w.Arrivals, given("arrivals"), func(s string) (Arrivals, error) { return Arrivals(s), nil })
}

// set takes a value of the file unless its flag was given.
func set[T any](dst, v *T, given bool) {
	if v != nil && !given {
		*dst = *v
	}
}

func parse[T any](dst *T, text *string, given bool, read func(string) (T, error)) error {
	if text == nil || given {
		return nil
	}
	v, err := read(*text)
	if err != nil {
		return err
	}
	*dst = v
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%w: duration %q: want something like 500ms or 30s", ErrUsage, s)
	}
	return d, nil
}
