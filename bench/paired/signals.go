package paired

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"dyno/bench/record"
)

// Reading is what the machine tells of itself at one moment, all of it counted
// since boot. Nothing in it comes from the programs under test.
type Reading struct {
	Wall, Mono, Boot time.Duration // CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME
	Steal, Total     float64       // CPU seconds of all cores: taken by the hypervisor; in all
	Busy             float64       // CPU seconds used here, by anybody
	Own              float64       // CPU seconds of this process and of all it has waited for
	// CPU, IO and Memory are the seconds in which some task waited for that
	// (Documentation/accounting/psi.rst, "some").
	CPU, IO, Memory float64
}

// clockTicks is USER_HZ, 100 on every Linux port Go supports (proc_stat(5)).
const clockTicks = 100

// Look reads the machine. It does not block.
func Look() Reading {
	p := record.ReadPressures()
	r := Reading{
		Wall: clock(unix.CLOCK_REALTIME), Mono: clock(unix.CLOCK_MONOTONIC), Boot: clock(unix.CLOCK_BOOTTIME),
		Steal: float64(p.StealTicks) / clockTicks, Total: float64(p.TotalTicks) / clockTicks,
		Busy: float64(p.TotalTicks-p.IdleTicks-p.StealTicks) / clockTicks,
		CPU:  stalled("cpu"), IO: stalled("io"), Memory: stalled("memory"),
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			r.Own += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
	}
	return r
}

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic("BUG: clock " + strconv.Itoa(int(id)) + ": " + err.Error()) // on any Linux Go runs on
	}
	return time.Duration(ts.Nano())
}

// stalled is the total of a pressure file in seconds, 0 where the kernel has none.
func stalled(what string) float64 {
	raw, err := os.ReadFile("/proc/pressure/" + what)
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	_, total, _ := strings.Cut(first, "total=")
	us, _ := strconv.ParseFloat(total, 64)
	return us / 1e6
}

// Signals are the differences of two readings, as shares of the time between them.
// They decide whether a block is run again, beside its runs that said nothing.
type Signals struct {
	Seconds float64 `json:"seconds"`
	Steal   float64 `json:"steal"`   // of the CPU time
	Foreign float64 `json:"foreign"` // of the CPU time: used by others and by the kernel for itself
	CPU     float64 `json:"psi_cpu"` // of the time
	IO      float64 `json:"psi_io"`
	Memory  float64 `json:"psi_memory"`
	// Step is how far the wall clock was set, Slept how long the machine stood still.
	Step  time.Duration `json:"step_ns"`
	Slept time.Duration `json:"slept_ns"`
}

// Between compares two readings. A kernel that counts ticks may see others' share
// slightly below 0; it is then 0.
func Between(a, b Reading) Signals {
	s := Signals{Seconds: (b.Mono - a.Mono).Seconds(), Step: (b.Wall - a.Wall) - (b.Boot - a.Boot), Slept: (b.Boot - a.Boot) - (b.Mono - a.Mono)}
	if cpu := b.Total - a.Total; cpu > 0 {
		s.Steal = (b.Steal - a.Steal) / cpu
		s.Foreign = max(0, (b.Busy-a.Busy)-(b.Own-a.Own)) / cpu
	}
	if s.Seconds > 0 {
		s.CPU, s.IO, s.Memory = (b.CPU-a.CPU)/s.Seconds, (b.IO-a.IO)/s.Seconds, (b.Memory-a.Memory)/s.Seconds
	}
	return s
}

// Limits are the signals above which a block is run again. The zero value of a
// field is its default.
type Limits struct {
	Steal   float64 `json:"steal"`   // 0.01
	Foreign float64 `json:"foreign"` // 0.10
	// CPU and IO are 1, which nothing exceeds: the comparison's own load makes tasks
	// wait for both, and how long is an outcome. Memory is 0.05.
	CPU    float64       `json:"psi_cpu"`
	IO     float64       `json:"psi_io"`
	Memory float64       `json:"psi_memory"`
	Step   time.Duration `json:"step_ns"` // of the clock: 50 ms, far above what slewing gives in a block
}

// SetDefaults fills in what is not set.
func (l *Limits) SetDefaults() {
	for _, f := range []struct {
		v *float64
		d float64
	}{{&l.Steal, 0.01}, {&l.Foreign, 0.10}, {&l.CPU, 1}, {&l.IO, 1}, {&l.Memory, 0.05}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	if l.Step == 0 {
		l.Step = 50 * time.Millisecond
	}
}

// exceeded names every limit that the signals are above; none means undisturbed.
func (l *Limits) exceeded(s Signals) []string {
	var why []string
	for _, c := range []struct {
		what       string
		got, limit float64
	}{
		{"stolen by the hypervisor", s.Steal, l.Steal}, {"of the CPU used by other work", s.Foreign, l.Foreign},
		{"of the time waited for CPU", s.CPU, l.CPU}, {"of the time waited for disks", s.IO, l.IO}, {"of the time waited for memory", s.Memory, l.Memory},
	} {
		if c.got > c.limit {
			why = append(why, fmt.Sprintf("%.1f %% %s, limit %.1f %%", 100*c.got, c.what, 100*c.limit))
		}
	}
	if s.Step.Abs() > l.Step {
		why = append(why, fmt.Sprintf("the clock was set by %v", s.Step))
	}
	if s.Slept > l.Step {
		why = append(why, fmt.Sprintf("the machine stood still for %v", s.Slept))
	}
	return why
}
