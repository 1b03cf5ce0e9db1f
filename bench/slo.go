package bench

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyno/loadgen"
)

// Bound is one demand of an SLO: a quantile of the response, counted from the
// intended start, is at most AtMost.
type Bound struct {
	Quantile string // p50, p90, p99, p999 or max
	AtMost   time.Duration
}

// quantileOf finds a quantile by its name.
var quantileOf = map[string]func(*loadgen.Quantiles) int64{
	"p50":  func(q *loadgen.Quantiles) int64 { return q.P50 },
	"p90":  func(q *loadgen.Quantiles) int64 { return q.P90 },
	"p99":  func(q *loadgen.Quantiles) int64 { return q.P99 },
	"p999": func(q *loadgen.Quantiles) int64 { return q.P999 },
	"max":  func(q *loadgen.Quantiles) int64 { return q.Max },
}

// ParseBound reads a demand such as p99=10ms. Error: ErrUsage.
func ParseBound(text string) (Bound, error) {
	name, value, _ := strings.Cut(text, "=")
	name = strings.ReplaceAll(strings.ToLower(name), ".", "") // p99.9 is p999
	d, err := time.ParseDuration(value)
	if quantileOf[name] == nil || err != nil || d <= 0 {
		return Bound{}, fmt.Errorf("%w: SLO %q: want QUANTILE=TIME, such as p99=10ms; quantiles are %s",
			ErrUsage, text, strings.Join(slices.Sorted(maps.Keys(quantileOf)), ", "))
	}
	return Bound{name, d}, nil
}

func (b Bound) String() string { return fmt.Sprintf("%s<=%v", b.Quantile, b.AtMost) }

func sloText(slo []Bound) string {
	words := make([]string, len(slo))
	for i, b := range slo {
		words[i] = b.String()
	}
	return strings.Join(words, ",")
}

// grown is the share of an offered rate below which less was confirmed than was
// offered: what waits grows with the window.
const grown = 0.95

// outcome is what one trial says of its rate.
type outcome struct {
	good bool
	why  string // it is not good; "" where it is
	// generator says that the trial says nothing of the cluster.
	generator bool
}

// judgeRate says whether an SLO held in a load at a rate: every demand, every record
// answered, none left behind, and the generator not what was measured. What the
// ledger found is not judged here: that ends a search.
func judgeRate(slo []Bound, rate float64, res *loadResult) outcome {
	r := &res.Report
	behind := unansweredOf(r.Failed, r.Unknown, res.Detail.Unsent, 0)
	switch {
	case r.Saturated == loadgen.BottleneckGenerator:
		return outcome{why: "the generator is the bottleneck: " + res.Detail.Why, generator: true}
	case behind != "":
		return outcome{why: strings.TrimSuffix(behind, otherLoad)}
	case r.Saturated != loadgen.BottleneckNone:
		return outcome{why: "the backlog grows: " + res.Detail.Why}
	case r.MsgsPerS < grown*rate:
		return outcome{why: fmt.Sprintf("the backlog grows: %.0f records/s confirmed", r.MsgsPerS)}
	}
	for _, b := range slo {
		if v := time.Duration(quantileOf[b.Quantile](r.Response)); v > b.AtMost {
			return outcome{why: fmt.Sprintf("%s is %v", b.Quantile, v.Round(10*time.Microsecond))}
		}
	}
	return outcome{good: true}
}

// ParseShare reads a share such as 5% or 0.05. Error: ErrUsage.
func ParseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) {
		return 0, fmt.Errorf("%w: a share of %q: want a part of 1, such as 5%% or 0.05", ErrUsage, text)
	}
	return v, nil
}
