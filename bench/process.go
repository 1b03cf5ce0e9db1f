package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child that the lab owns. Its reaper goroutine is started by
// launch and ends when the child has been reaped; stop waits for that.
type process struct {
	name   string
	cmd    *exec.Cmd
	stderr *tail
	exited chan struct{} // capacity 0; closed by the reaper once err is set
	err    error         // how the child ended; read after exited is closed
	asked  bool          // the lab has had it end; owner: who calls end
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// end sends the child a signal that ends it, at the moment returned, and waits
// until it has. An end by SIGKILL is none of an error, any other must be in order.
// What does not end within grace is killed.
func (p *process) end(sig syscall.Signal, grace time.Duration) (at int64, err error) {
	if p.ended() {
		return 0, fmt.Errorf("%s has ended by itself (%v); %s", p.name, p.err, p.lastWords())
	}
	p.asked, at = true, monotonic()
	_ = p.cmd.Process.Signal(sig) // one that has just ended by itself shows in err
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return at, fmt.Errorf("%s did not end within %v and was killed", p.name, grace)
	}
	if p.err != nil && sig != syscall.SIGKILL {
		return at, fmt.Errorf("%s ended with %w; %s", p.name, p.err, p.lastWords())
	}
	return at, nil
}

// stderrMax is how much of a child's last words is kept for an error message.
const stderrMax = 4 << 10

// launch starts a child in a process group of its own, so that Ctrl-C on a
// terminal reaches the lab alone and the lab ends its children in order. The
// child gets SIGTERM should the lab itself be killed.
func launch(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, stderr: &tail{}, exited: make(chan struct{})}
	cmd.Stderr = p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.WaitDelay = time.Second // a grandchild may hold stderr open
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w %s: %v", ErrStart, name, err)
	}
	go p.reap()
	return p, nil
}

// reap waits for the child and ends what is left of its group. The group is
// signalled while the dead child still holds its number, so that the number
// cannot belong to anybody else.
func (p *process) reap() {
	defer close(p.exited)
	pid := p.cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // nobody left is the usual case
	err := p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	p.err = err
}

// stop asks the child to end, waits up to grace, then kills its group. It is
// idempotent and returns how the child ended; an end by our own signal is none.
func (p *process) stop(grace time.Duration) error {
	select {
	case <-p.exited:
		return p.err
	default:
	}
	// The reaper may win between here and the signal; os.Process then reports
	// ErrProcessDone and never signals a stranger.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not stop within %v and was killed", p.name, grace)
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() && st.Signal() == syscall.SIGTERM {
			return nil
		}
	}
	return p.err
}

// lastWords is what the child said on stderr, as one indented block.
func (p *process) lastWords() string {
	text := strings.TrimSpace(p.stderr.String())
	if text == "" {
		return "it said nothing on stderr"
	}
	return "its last words: " + text
}

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

var _ io.Writer = (*tail)(nil)

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if extra := len(t.buf) - stderrMax; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, []byte("?")))
}

// usage is what a process has consumed since it started.
type usage struct {
	cpu        float64 // seconds, user and system
	rssBytes   int64
	startTicks uint64 // names the process together with its pid
}

// clockTicks is USER_HZ, 100 on every Linux port Go supports (proc_pid_stat(5)).
const clockTicks = 100

// readUsage reads /proc/pid; fs.ErrNotExist or ESRCH once the process is gone.
func readUsage(pid int) (usage, error) {
	var u usage
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The command name stands in parentheses and may hold anything.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 22 {
		return u, fmt.Errorf("read usage of %d: short stat line", pid)
	}
	number := func(i int) uint64 { // i as numbered by proc_pid_stat(5), state is 3
		v, _ := strconv.ParseUint(fields[i-3], 10, 64)
		return v
	}
	u.cpu = float64(number(14)+number(15)) / clockTicks
	if fine, ok := cpuClock(pid); ok {
		u.cpu = fine
	}
	u.startTicks = number(22)
	u.rssBytes = int64(number(24)) * int64(os.Getpagesize())
	return u, nil
}

// cpuClock reads the CPU-time clock of a process, of all its threads, those that
// have ended among them: the same as in its stat file, but in ns instead of ticks
// of 10 ms. Source: clock_getcpuclockid(3), whose C library makes the number so.
func cpuClock(pid int) (seconds float64, ok bool) {
	const wholeProcess = 2 // CPUCLOCK_SCHED, of a process
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid)<<3|wholeProcess, &ts) != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()).Seconds(), true
}
