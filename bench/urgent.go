package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// urgentNice is the priority of a generator that keeps a schedule (nice values, lower is
// sooner). It shares the processors with what it loads; on a machine of its own nobody
// would keep it waiting.
const urgentNice = -10

// urgent has a generator that keeps a schedule go before others, once it is prepared; nil
// where there is none. Servers that it has started before keep their own priority.
func (l *lab) urgent(rate float64) func(pid int) {
	if rate == 0 {
		return nil
	}
	return func(pid int) {
		if err := urge(pid); err != nil {
			l.cautionOnce(fmt.Sprintf("the generator has no precedence over what it loads, and may come late: %v", err))
			return
		}
		l.urged = true
	}
}

// urge gives all threads of a process urgentNice; those that they start have it too. It
// is called while the process waits, so that none slips through. Error: unix.EACCES or
// EPERM where that is not allowed.
func urge(pid int) error {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "task")
	done := map[string]bool{}
	for more := true; more; {
		more = false
		threads, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("urge: %w", err)
		}
		for _, t := range threads {
			if done[t.Name()] {
				continue
			}
			id, err := strconv.Atoi(t.Name())
			if err == nil {
				err = unix.Setpriority(unix.PRIO_PROCESS, id, urgentNice)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) { // one that has just ended needs none
				return fmt.Errorf("urge: %w", err)
			}
			done[t.Name()], more = true, true
		}
	}
	return nil
}
