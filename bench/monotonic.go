package bench

import "golang.org/x/sys/unix"

// monotonic is now in ns on the clock that all processes of this machine share
// and nobody sets (clock_gettime(2), CLOCK_MONOTONIC).
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error()) // on any Linux Go runs on
	}
	return ts.Nano()
}
