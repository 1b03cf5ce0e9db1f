package loadgen

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clock is the run's monotonic time in ns. A manual clock moves only by sleeping, for simulations in one goroutine.
type clock struct {
	base   time.Time
	wall   time.Time // base without its monotonic part: adding to it costs no clock read
	manual *int64
}

func newClock() *clock {
	now := time.Now()
	return &clock{base: now, wall: now.Round(0)}
}

func (c *clock) now() int64 {
	if c.manual != nil {
		return *c.manual
	}
	return int64(time.Since(c.base))
}

// wallAt is the wall clock time at ns.
func (c *clock) wallAt(ns int64) time.Time { return c.wall.Add(time.Duration(ns)) }

// sleepMax bounds one sleep, so that a stop is noticed.
const sleepMax = 50 * time.Millisecond

// sleeper waits for an instant with a timerfd read through the runtime's poller: time.Sleep rounds to a millisecond when the
// process is otherwise idle (the poller's epoll timeout), which would put up to 1 ms into every delay at low rates; a timerfd
// wakes the poller itself. Owner: one sender.
type sleeper struct {
	clk *clock
	fd  int
	f   *os.File
	buf [8]byte
}

func newSleeper(clk *clock) (*sleeper, error) {
	if clk.manual != nil {
		return &sleeper{clk: clk}, nil
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return &sleeper{clk: clk, fd: fd, f: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// until blocks until the clock reaches ns or for sleepMax, whichever is first.
func (s *sleeper) until(ns int64) error {
	d := min(ns-s.clk.now(), int64(sleepMax))
	if d <= 0 {
		return nil
	}
	if s.clk.manual != nil {
		*s.clk.manual += d
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d)}
	if err := unix.TimerfdSettime(s.fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	if _, err := s.f.Read(s.buf[:]); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	return nil
}

func (s *sleeper) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}
