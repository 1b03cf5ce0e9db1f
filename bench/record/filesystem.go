package record

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// filesystem is what is known of the file system a directory lies on.
type filesystem struct {
	kind, options string
	sys           string // its block device below /sys, "" if there is none
}

func filesystemOf(dir string) (filesystem, error) {
	var fs filesystem
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fs, fmt.Errorf("stat data directory: %w", err)
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fs, err
	}
	defer f.Close()
	// The last line of a device wins: it is the mount on top.
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kind, options, ok := mountLine(lines.Text(), device); ok {
			fs.kind, fs.options = kind, options
		}
	}
	fs.sys = blockDevice(device)
	return fs, nil
}

// mountLine reads one line of mountinfo (proc_pid_mountinfo(5)):
// "36 35 98:0 /sub /mnt rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue".
func mountLine(text, device string) (kind, options string, ok bool) {
	left, right, found := strings.Cut(text, " - ")
	head, tail := strings.Fields(left), strings.Fields(right)
	if !found || len(head) < 6 || len(tail) < 3 || head[2] != device {
		return "", "", false
	}
	var kept []string
	seen := map[string]bool{}
	for _, option := range strings.Split(head[5]+","+tail[2], ",") {
		if key, value, has := strings.Cut(option, "="); has && strings.Contains(value, "/") {
			option = key + "=…" // paths of overlay layers are nobody's business
		}
		if !seen[option] {
			seen[option] = true
			kept = append(kept, option)
		}
	}
	return tail[0], strings.Join(kept, ","), true
}

// blockDevice finds the whole disk of a device number; a partition's queue is
// that of the disk above it.
func blockDevice(device string) string {
	path, err := filepath.EvalSymlinks("/sys/dev/block/" + device)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(path, "partition")); err == nil {
		path = filepath.Dir(path)
	}
	return path
}

func (fs filesystem) queue(name string) string {
	if fs.sys == "" {
		return ""
	}
	return line(filepath.Join(fs.sys, "queue", name))
}

// DiskWritten is how many bytes the block device under dir has written since
// boot; ok is false where no device tells.
func DiskWritten(dir string) (bytes uint64, ok bool) {
	fs, err := filesystemOf(dir)
	if err != nil || fs.sys == "" {
		return 0, false
	}
	fields := strings.Fields(line(filepath.Join(fs.sys, "stat")))
	if len(fields) < 7 {
		return 0, false
	}
	var sectors uint64
	if _, err := fmt.Sscan(fields[6], &sectors); err != nil {
		return 0, false
	}
	return sectors * 512, true // Documentation/block/stat: always 512-byte units
}
