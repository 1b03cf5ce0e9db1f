package gate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Waiver allows one metric to be worse than the baseline, by so much, for a reason,
// until a day.
type Waiver struct {
	Metric  string
	Share   float64 // of the base; or
	Value   float64 // in the metric's unit
	Reason  string
	Expires time.Time // the first day, UTC, on which it does not hold
}

// waiverDaysMax is how long a waiver may hold: by then the baseline says it, or the
// reason is gone.
const waiverDaysMax = 90

// ErrWaiver means that the file of waivers is not as it must be.
var ErrWaiver = errors.New("waivers")

// ReadWaivers reads the file of waivers, YAML and strict:
//
//	waivers:
//	  - metric: three/produce/wal-bytes
//	    allow: 3%            # more than the base, or a number in the metric's unit
//	    reason: the record header has a checksum of its own
//	    expires: 2027-01-31  # does not hold on that day any more
//
// A waiver that has expired by now, names what known does not know, or holds for
// more than 90 days is an error (ErrWaiver), as is anything else that is wrong: a
// waiver that nobody looks at any more would excuse what it was not made for.
func ReadWaivers(raw []byte, known func(metric string) bool, now time.Time) ([]Waiver, error) {
	var file struct {
		Waivers []struct {
			Metric  string `yaml:"metric"`
			Allow   string `yaml:"allow"`
			Reason  string `yaml:"reason"`
			Expires string `yaml:"expires"`
		} `yaml:"waivers"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrWaiver, firstLine(err))
	}
	var out []Waiver
	seen := map[string]bool{}
	for i, x := range file.Waivers {
		w := Waiver{Metric: x.Metric, Reason: strings.TrimSpace(x.Reason)}
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%w: number %d, of %q: %s", ErrWaiver, i+1, x.Metric, fmt.Sprintf(format, args...))
		}
		if !known(w.Metric) {
			return nil, fail("there is no such metric: take it out, or correct the name")
		}
		if seen[w.Metric] {
			return nil, fail("it is waived twice")
		}
		seen[w.Metric] = true
		if w.Reason == "" {
			return nil, fail("it has no reason")
		}
		if err := w.allow(x.Allow); err != nil {
			return nil, fail("%v", err)
		}
		if err := w.until(x.Expires, now); err != nil {
			return nil, fail("%v", err)
		}
		out = append(out, w)
	}
	return out, nil
}

// firstLine is the message of a YAML error without the excerpt below it.
func firstLine(err error) string { s, _, _ := strings.Cut(err.Error(), "\n"); return s }

func (w *Waiver) allow(text string) error {
	number, share := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v > 0) || math.IsInf(v, 0) {
		return fmt.Errorf("allow: %q: want how much more is allowed, such as 3%% or 0.5", text)
	}
	if share {
		w.Share = v / 100
	} else {
		w.Value = v
	}
	return nil
}

func (w *Waiver) until(text string, now time.Time) (err error) {
	if w.Expires, err = time.Parse(time.DateOnly, text); err != nil {
		return fmt.Errorf("expires: %q: want a day such as 2027-01-31", text)
	}
	switch {
	case !now.Before(w.Expires):
		return fmt.Errorf("it expired on %s: take it out and mend the metric, or write a new baseline", text)
	case w.Expires.Sub(now) > waiverDaysMax*24*time.Hour:
		return fmt.Errorf("expires: %s: a waiver holds for %d days at most", text, waiverDaysMax)
	}
	return nil
}

// limit is how large a waived metric may be.
func (w *Waiver) limit(base float64) float64 { return base*(1+w.Share) + w.Value }
