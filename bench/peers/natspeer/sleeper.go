package natspeer

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clock is the run's monotonic time in ns.
type clock struct{ base time.Time }

func (c clock) now() int64 { return int64(time.Since(c.base)) }

// sleepMax bounds one sleep, so that a stop is noticed.
const sleepMax = int64(50 * time.Millisecond)

// sleeper waits on a timerfd through the runtime's poller: time.Sleep rounds up
// to a millisecond where the process is idle otherwise, which would enter every
// response at low rates. Owner: one sender.
type sleeper struct {
	f   *os.File
	fd  int
	buf [8]byte
}

func newSleeper() (*sleeper, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return &sleeper{f: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// sleep blocks for ns or sleepMax, whichever is shorter.
func (s *sleeper) sleep(ns int64) error {
	if ns = min(ns, sleepMax); ns <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(ns)}
	if err := unix.TimerfdSettime(s.fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	if _, err := s.f.Read(s.buf[:]); err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	return nil
}

func (s *sleeper) close() error { return s.f.Close() }
