package natspeer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// process is one server child. Its two goroutines, started by launch, end with
// the child; stop waits for that.
type process struct {
	name   string
	cmd    *exec.Cmd
	in     *os.File       // its standard input; the child ends when it closes
	said   chan nodeReady // capacity 1; sender: the reader, closed when the child hangs up
	stderr *tail
	exited chan struct{} // closed once err is set
	err    error         // how it ended; read after exited is closed
}

// launch starts a server in a process group of its own, so that Ctrl-C on a
// terminal reaches this process alone. The kernel signals it when this process
// dies, and its standard input closes.
func launch(argv []string, name string, spec *nodeSpec) (_ *process, err error) {
	line, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode server configuration: %w", err)
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: server %s: %v", ErrStart, name, err)
	}
	defer childIn.Close()
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: server %s: %v", ErrStart, name, err), in.Close())
	}
	defer childOut.Close()
	p := &process{name: name, in: in, said: make(chan nodeReady, 1), stderr: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = childIn, childOut, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: server %s: %v", ErrStart, name, err), in.Close(), out.Close())
	}
	go p.reap()
	go p.listen(out)
	if _, err := in.Write(append(line, '\n')); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: server %s: %v", ErrStart, name, err), p.stop(0))
	}
	return p, nil
}

func (p *process) reap() {
	defer close(p.exited)
	p.err = p.cmd.Wait()
}

// listen takes the one line a server says. It owns out.
func (p *process) listen(out *os.File) {
	defer close(p.said)
	defer out.Close()
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		if !first {
			continue // keep the pipe empty until the child hangs up
		}
		var r nodeReady
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			r.Error = fmt.Sprintf("it said %.80q instead of where it listens", lines.Text())
		}
		p.said <- r
	}
}

// stop asks the server to end, waits up to grace, then kills it; a grace of 0
// kills at once. Idempotent. The end by our own signal is no error.
func (p *process) stop(grace time.Duration) error {
	defer p.in.Close()
	select {
	case <-p.exited:
		return p.died()
	default:
	}
	if grace > 0 {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // the reaper may be faster: then it is gone
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.exited:
			return p.died()
		case <-timer.C:
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	if grace > 0 {
		return fmt.Errorf("server %s did not stop within %v and was killed", p.name, grace)
	}
	return nil
}

// died says how an ended server ended; nil for a good end.
func (p *process) died() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("server %s ended with %w; %s", p.name, p.err, p.lastWords())
}

// lastWords is what the server warned of last.
func (p *process) lastWords() string {
	text := strings.TrimSpace(p.stderr.String())
	if text == "" {
		return "it said nothing on stderr"
	}
	return "its last words: " + text
}

// serverUse is what a server process has used since it started.
type serverUse struct {
	cpu  float64 // s, user and system
	rss  int64
	disk int64 // bytes it caused to be written to a device, -1: unknown
}

// use reads proc_pid_stat(5) and proc_pid_io(5).
func (p *process) use() (u serverUse, err error) {
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		return u, fmt.Errorf("read usage of server %s: %w", p.name, err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return u, fmt.Errorf("read usage of server %s: %w", p.name, err)
	}
	u = serverUse{cpu: stat.CPUTime(), rss: int64(stat.ResidentMemory()), disk: -1}
	if io, err := proc.IO(); err == nil { // some kernels do not keep it
		u.disk = int64(io.WriteBytes)
	}
	return u, nil
}

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

const tailMax = 4 << 10

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if extra := len(t.buf) - tailMax; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, []byte("?")))
}
