package bench

import (
	"bufio"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that was urged runs at urgentNice, and so does what it starts.
func TestUrge(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read go; sh -c 'cut -d\" \" -f19 /proc/$$/stat'; cut -d\" \" -f19 /proc/$$/stat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = urge(cmd.Process.Pid)
	if _, werr := in.Write([]byte("go\n")); werr != nil {
		t.Error(werr)
	}
	var nice []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		nice = append(nice, lines.Text())
	}
	if werr := cmd.Wait(); werr != nil {
		t.Fatal(werr)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip("may not raise a priority:", err)
	}
	if got := strings.Join(nice, " "); err != nil || got != "-10 -10" {
		t.Errorf("nice %q: %v", got, err)
	}
}

// A process that has ended cannot be urged.
func TestUrgeNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := urge(cmd.Process.Pid); err == nil {
		t.Error("urged a process that has ended")
	}
}
