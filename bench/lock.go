package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// labName is the machine-wide name of the lab lock: an abstract socket, so there
// is no file to leave behind and the kernel frees it with the process. It is
// seen by every user of one network namespace.
const labName = "@dyno-lab"

// lock is held by the one lab that measures on this machine.
type lock struct{ listener net.Listener }

// acquire takes the lock or says who holds it. Error: ErrBusy.
func acquire(name string) (*lock, error) {
	l, err := net.Listen("unix", name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another lab is measuring (%s); two at once would measure each other. Wait for it to end",
			ErrBusy, holder(name))
	}
	if err != nil {
		return nil, fmt.Errorf("take the lab lock: %w", err)
	}
	return &lock{l}, nil
}

func (l *lock) release() error { return l.listener.Close() }

// holder names the process that listens on the lock. Nobody accepts: the kernel
// completes the connection and knows the peer's credentials (unix(7)).
func holder(name string) string {
	const unknown = "its process could not be asked"
	c, err := net.Dial("unix", name)
	if err != nil {
		return unknown
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return unknown
	}
	var pid int32
	err = raw.Control(func(fd uintptr) {
		if cred, cerr := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); cerr == nil {
			pid = cred.Pid
		}
	})
	if err != nil || pid == 0 {
		return unknown
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.Fields(strings.ReplaceAll(string(cmdline), "\x00", " "))
	return fmt.Sprintf("process %d: %.80s", pid, strings.Join(words, " "))
}
