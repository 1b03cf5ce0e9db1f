package loadgen

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cpuSeconds is the processor time this process has used, user and system.
func cpuSeconds() (float64, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9, nil
}

// ioStalled is the time in us during which some task of this machine waited for a disk, from the kernel's pressure stall
// information; ok is false where the kernel does not keep it.
func ioStalled() (us int64, ok bool) {
	raw, err := os.ReadFile("/proc/pressure/io")
	if err != nil {
		return 0, false
	}
	sc := bufio.NewScanner(bytes.NewReader(raw))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) == 0 || f[0] != "some" {
			continue
		}
		total, found := strings.CutPrefix(f[len(f)-1], "total=")
		if us, err = strconv.ParseInt(total, 10, 64); found && err == nil {
			return us, true
		}
	}
	return 0, false
}

// allLocal tells whether every broker address is a loopback address, so that this machine's disk pressure is theirs.
func allLocal(brokers []string) bool {
	for _, b := range brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
