package cell

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what one cell measured.
type Result struct {
	Ops        int64   `json:"ops"`      // records, or writes of a raw loop
	Bytes      int64   `json:"bytes"`    // payload
	Seconds    float64 `json:"seconds"`  // from go to the last durable byte
	Syncs      int64   `json:"syncs"`    // as the log counts them
	P50Ns      float64 `json:"p50_ns"`   // time one append waited to be durable
	P99Ns      float64 `json:"p99_ns"`   //
	CPUSeconds float64 `json:"cpu_s"`    // of the measured time, user and system
	Verified   int64   `json:"verified"` // records found again after reopening; equals Ops
	Phase      string  `json:"phase"`    // state of the space written into
}

// meter takes the differences of one measured stretch.
type meter struct {
	start time.Time
	cpu   float64
}

func startMeter() meter {
	return meter{start: time.Now(), cpu: cpuSeconds()}
}

// stop fills in everything that is a difference over the measured time.
func (m meter) stop(r *Result) {
	r.Seconds = time.Since(m.start).Seconds()
	r.CPUSeconds = cpuSeconds() - m.cpu
}

// latencies sorts the waiting times of all appends and takes two of them.
func (r *Result) latencies(times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))]) }
	r.P50Ns, r.P99Ns = at(0.50), at(0.99)
}

func cpuSeconds() float64 {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
}

// forget drops a file's pages from the cache, so that verification reads the
// device.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("drop cache: %w", err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop cache of %s: %w", f.Name(), err)
	}
	return nil
}
