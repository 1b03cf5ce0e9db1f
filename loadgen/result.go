package loadgen

import (
	"encoding/json"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// JSONSchema names the object Result.JSON writes.
const JSONSchema = "dyno.load/1"

const detailSchema = "dyno.load.detail/1"

// Report is the dyno.load/1 object: what a script may rely on, null where a thing was not measured. Times are ns.
type Report struct {
	Schema     string     `json:"schema"`
	Sent       int64      `json:"sent"`
	Acked      int64      `json:"acked"`
	Failed     int64      `json:"failed"`
	Unknown    int64      `json:"unknown"`
	Consumed   *int64     `json:"consumed"`
	Lost       *int64     `json:"lost"`
	Duplicated *int64     `json:"duplicated"`
	Reordered  *int64     `json:"reordered"`
	Corrupted  *int64     `json:"corrupted"`
	MsgsPerS   float64    `json:"msgs_per_s"`
	BytesPerS  float64    `json:"bytes_per_s"`
	Response   *Quantiles `json:"response_ns"`
	Service    *Quantiles `json:"service_ns"`
	Delay      *Quantiles `json:"delay_ns"`
	E2E        *Quantiles `json:"e2e_ns"`
	Saturated  Bottleneck `json:"saturated"`
	ClientCPUS float64    `json:"client_cpu_s"`
}

// Result is one finished run.
type Result struct {
	Report
	Detail Detail

	acks      Acks
	hists     [seriesCount]*hdr.Histogram // of the timed window; nil: not measured
	intervals []interval
	begun     time.Time // wall clock at ns 0 of intervals
}

// Detail is what the report's contract has no room for.
type Detail struct {
	Schema     string        `json:"schema"` // dyno.load.detail/1
	Mode       string        `json:"mode"`   // open, closed, saturating, read
	Config     any           `json:"config"` // the effective configuration, without secrets
	Window     time.Duration `json:"window_ns"`
	Confirmed  int64         `json:"confirmed"` // records the end offsets show for the timed window
	Partitions int           `json:"partitions"`
	// Backpressure counts the times a record was due, or a saturating sender ready, and no slot was free.
	Backpressure int64 `json:"backpressure"`
	Unsent       int64 `json:"unsent"` // scheduled in the window and never sent
	// Censored records of the timed window were due and never acknowledged (unsent, unknown or failed); the response holds each at
	// a lower bound, end of the window - intended.
	Censored     int64            `json:"censored"`
	Late         int64            `json:"late"` // sent over 10 ms after their intended time
	Overflow     int64            `json:"overflow"`
	Capacity     float64          `json:"generator_capacity_per_s"` // 0: not probed
	Why          string           `json:"saturated_why"`
	Steady       Steady           `json:"steady"`
	Errors       map[string]int64 `json:"errors,omitempty"`
	Verification *Verification    `json:"verification"`
	Live         *int64           `json:"live_consumed"`
	Interrupted  bool             `json:"interrupted"`
}

// JSON is the one object `dyno load --json` prints, with a final newline.
func (r *Result) JSON() ([]byte, error) {
	raw, err := json.Marshal(&r.Report)
	if err != nil {
		return nil, fmt.Errorf("encode the report: %w", err)
	}
	return append(raw, '\n'), nil
}

// Violation says what was violated; empty if nothing was, or nothing was verified. At acks=all with idempotence any loss,
// duplicate, reordering or corruption is one, and so is a refused record that is present or an acknowledged one at another offset
// than its answer named; at acks 1 and 0, and where records were only read, corruption alone.
func (r *Result) Violation() string {
	v := r.Detail.Verification
	switch {
	case v == nil:
		return ""
	case r.Detail.Mode == modeRead:
		if v.Corrupted > 0 {
			return fmt.Sprintf("%d corrupted beside %d good records", v.Corrupted, v.Read)
		}
		return ""
	case r.acks == AcksAll && v.Lost+v.Duplicated+v.Reordered+v.Corrupted+v.Refused+v.Misplaced > 0:
		return fmt.Sprintf("%d lost, %d duplicated, %d reordered, %d corrupted of %d acknowledged%s",
			v.Lost, v.Duplicated, v.Reordered, v.Corrupted, r.Acked, v.rare())
	case v.Corrupted > 0:
		return fmt.Sprintf("%d corrupted of %d acknowledged", v.Corrupted, r.Acked)
	}
	return ""
}

// rare names the offences beyond the four of the report; empty if there were none.
func (v *Verification) rare() (s string) {
	if v.Refused > 0 {
		s += fmt.Sprintf("; %d refused and yet present", v.Refused)
	}
	if v.Misplaced > 0 {
		s += fmt.Sprintf("; %d at another offset than acknowledged", v.Misplaced)
	}
	return s
}

// Histogram returns the merged histogram of response, service, delay or e2e over the timed window, nil if it was not measured.
// The caller must not change it.
func (r *Result) Histogram(name string) *hdr.Histogram {
	for s, n := range seriesNames {
		if n == name {
			return r.hists[s]
		}
	}
	return nil
}
