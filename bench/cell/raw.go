package cell

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The states of the space a raw loop writes into.
const (
	Grow      = "grow"      // the file grows with each write
	Fallocate = "fallocate" // reserved, never written
	Zero      = "zero"      // written with zeros and synced
	Recycled  = "recycled"  // held another file's data, renamed
	Direct    = "direct"    // recycled, opened O_DIRECT|O_DSYNC
	// DirectSync is written with zeros, opened O_DIRECT, synced by fdatasync.
	DirectSync = "direct-sync"
)

// RawSpec is a loop of pwrite and fdatasync by one thread: what a disk gives a
// log that does nothing else.
type RawSpec struct {
	Dir        string `json:"dir"`
	Mode       string `json:"mode"`
	WriteBytes int    `json:"write_bytes"` // a multiple of 4 KiB
	TotalBytes int64  `json:"total_bytes"`
	Seed       uint64 `json:"seed"`
}

// Raw is the Work of a RawSpec.
func Raw(ctx context.Context, raw json.RawMessage, s *Session) (any, error) {
	var spec RawSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("raw loop: %w", err)
	}
	if spec.WriteBytes < patternPage || spec.WriteBytes%patternPage != 0 || spec.TotalBytes < int64(spec.WriteBytes) {
		return nil, fmt.Errorf("raw loop: writes of %d bytes to a total of %d: want multiples of 4 KiB", spec.WriteBytes, spec.TotalBytes)
	}
	f, err := spec.prepare()
	if err != nil {
		return nil, fmt.Errorf("raw loop: prepare %s space: %w", spec.Mode, err)
	}
	defer f.Close()
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	res, err := spec.loop(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("raw loop: %w", err)
	}
	if err := spec.verify(ctx, res); err != nil {
		return nil, fmt.Errorf("raw loop: %w: %w", ErrVerify, err)
	}
	return res, nil
}

func (spec *RawSpec) path() string { return filepath.Join(spec.Dir, "raw.log") }

// prepare makes the file and the state of its space, all of it durable.
func (spec *RawSpec) prepare() (*os.File, error) {
	if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
		return nil, err
	}
	made := filepath.Join(spec.Dir, "old.log")
	f, err := os.OpenFile(made, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	switch spec.Mode {
	case Grow:
	case Fallocate:
		err = unix.Fallocate(int(f.Fd()), 0, 0, spec.TotalBytes)
	case Zero, DirectSync:
		err = fill(f, make([]byte, 1<<20), spec.TotalBytes)
	case Recycled, Direct:
		err = fill(f, newPattern(^spec.Seed, 1<<20).body, spec.TotalBytes)
	default:
		err = fmt.Errorf("unknown mode %q", spec.Mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(made, spec.path())
	}
	if err == nil {
		err = syncDir(spec.Dir)
	}
	if err != nil {
		return nil, err
	}
	flags := os.O_RDWR
	switch spec.Mode {
	case Direct:
		flags |= unix.O_DIRECT | unix.O_DSYNC
	case DirectSync:
		flags |= unix.O_DIRECT
	}
	return os.OpenFile(spec.path(), flags, 0)
}

func fill(f *os.File, block []byte, total int64) error {
	for at := int64(0); at < total; at += int64(len(block)) {
		n := min(total-at, int64(len(block)))
		if _, err := f.WriteAt(block[:n], at); err != nil {
			return err
		}
	}
	return nil
}

func (spec *RawSpec) loop(ctx context.Context, f *os.File) (*Result, error) {
	// O_DIRECT wants an aligned buffer; an anonymous mapping is one.
	buf, err := unix.Mmap(-1, 0, spec.WriteBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map buffer: %w", err)
	}
	defer func() { _ = unix.Munmap(buf) }() // of our own mapping: cannot fail
	p := newPattern(spec.Seed, spec.WriteBytes)
	copy(buf, p.body)
	ops := spec.TotalBytes / int64(spec.WriteBytes)
	times := make([]time.Duration, 0, ops)
	fd := int(f.Fd())
	res := &Result{Ops: ops, Bytes: ops * int64(spec.WriteBytes), Syncs: ops, Phase: spec.Mode}
	m := startMeter()
	for i := range ops {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p.stamp(buf, uint64(i))
		begin := time.Now()
		if err := pwrite(fd, buf, i*int64(spec.WriteBytes)); err != nil {
			return nil, fmt.Errorf("write %d: %w", i, err)
		}
		if spec.Mode != Direct {
			if err := unix.Fdatasync(fd); err != nil {
				return nil, fmt.Errorf("sync %d: %w", i, err)
			}
		}
		times = append(times, time.Since(begin))
	}
	m.stop(res)
	res.latencies(times)
	return res, nil
}

func pwrite(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// verify reads the file back from the device and compares every byte.
func (spec *RawSpec) verify(ctx context.Context, res *Result) error {
	if err := forget(spec.path()); err != nil {
		return err
	}
	f, err := os.Open(spec.path())
	if err != nil {
		return err
	}
	defer f.Close()
	p := newPattern(spec.Seed, spec.WriteBytes)
	buf := make([]byte, spec.WriteBytes)
	for i := range res.Ops {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := io.ReadFull(f, buf); err != nil {
			return fmt.Errorf("read write %d back: %w", i, err)
		}
		if n, err := p.number(buf); err != nil || n != uint64(i) {
			return fmt.Errorf("write %d came back as %d: %w", i, n, err)
		}
		res.Verified++
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
