package record

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Probes are short measurements of the machine itself, medians in ns. They say
// whether two runs saw the same machine; they are not results.
type Probes struct {
	SyncGrowNs      float64 `json:"sync_grow_ns"`      // pwrite 4 KiB + fdatasync, file grows
	SyncFallocateNs float64 `json:"sync_fallocate_ns"` // into fallocated space
	SyncWrittenNs   float64 `json:"sync_written_ns"`   // over written space
	LoopbackNs      float64 `json:"loopback_ns"`       // TCP round trip of one byte
	CPULoopNs       float64 `json:"cpu_loop_ns"`       // CRC32C over 1 MiB
}

const (
	probeSyncs  = 64
	probeTrips  = 1000
	probeLoops  = 64
	probeBlock  = 4 << 10
	probeExtent = probeSyncs * probeBlock
)

// Probe measures the machine for about a tenth of a second, in a file below dir
// that it removes again. It blocks; call it when nothing else runs.
func Probe(dir string) (Probes, error) {
	var p Probes
	path := filepath.Join(dir, ".probe")
	for _, step := range []struct {
		into    *float64
		prepare func(*os.File) error
	}{
		{&p.SyncGrowNs, func(*os.File) error { return nil }},
		{&p.SyncFallocateNs, func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, probeExtent) }},
		{&p.SyncWrittenNs, func(f *os.File) error {
			if _, err := f.WriteAt(make([]byte, probeExtent), 0); err != nil {
				return err
			}
			return f.Sync()
		}},
	} {
		ns, err := probeSync(path, step.prepare)
		if err != nil {
			return p, fmt.Errorf("probe disk: %w", err)
		}
		*step.into = ns
	}
	var err error
	if p.LoopbackNs, err = probeLoopback(); err != nil {
		return p, fmt.Errorf("probe loopback: %w", err)
	}
	p.CPULoopNs = probeCPU()
	return p, nil
}

func probeSync(path string, prepare func(*os.File) error) (float64, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	if err := prepare(f); err != nil {
		return 0, err
	}
	block := make([]byte, probeBlock)
	times := make([]time.Duration, probeSyncs)
	for i := range times {
		block[0] = byte(i)
		start := time.Now()
		if _, err := f.WriteAt(block, int64(i)*probeBlock); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	return middle(times), nil
}

func probeLoopback() (float64, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	echo := make(chan error, 1) // capacity 1: the echo side ends whoever reads it
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			c.Close()
		}
		echo <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		l.Close()
		return 0, errors.Join(err, <-echo)
	}
	ns, err := roundTrips(c)
	c.Close()
	if eerr := <-echo; err == nil {
		err = eerr
	}
	return ns, err
}

func roundTrips(c net.Conn) (float64, error) {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	var b [1]byte
	times := make([]time.Duration, probeTrips)
	for i := range times {
		start := time.Now()
		if _, err := c.Write(b[:]); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	return middle(times), nil
}

func probeCPU() float64 {
	block := make([]byte, 1<<20)
	table := crc32.MakeTable(crc32.Castagnoli)
	times := make([]time.Duration, probeLoops)
	var sum uint32
	for i := range times {
		start := time.Now()
		sum = crc32.Update(sum, table, block)
		times[i] = time.Since(start)
		block[0] = byte(sum)
	}
	return middle(times)
}

func middle(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Nanoseconds())
}
