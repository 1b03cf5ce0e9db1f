package cell

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Files is the contender of one shared log: a file per partition, each with its
// own group commit (whoever comes while a sync runs is written by the next one).
// Its files hold written space, the kindest state there is.
//
// A file is a row of records, each a little-endian uint32 of its length and its
// bytes; Close cuts the file behind the last one.
var Files = System{Open: openFiles, ReadBack: readFiles}

// fileLog owns a goroutine per partition that is writing; Close joins them.
type fileLog struct {
	parts   []*filePart
	leaders sync.WaitGroup
	syncs   atomic.Int64
}

type filePart struct {
	f     *os.File
	mu    sync.Mutex
	busy  bool          // guarded by mu: a leader goroutine writes and syncs
	queue []pendingItem // guarded by mu
	pos   int64         // owner: the leader
}

// filesSlack is the space prepared beyond a partition's even share of the bytes,
// for the length fields.
const filesSlack = 64 << 10

func openFiles(ctx context.Context, dir string, streams int, bytes int64) (Log, error) {
	l := &fileLog{}
	size := bytes/int64(streams) + filesSlack
	old := newPattern(^uint64(0), 1<<20).body
	for i := range streams {
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), l.Close())
		}
		f, err := os.OpenFile(partPath(dir, i), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err == nil {
			l.parts = append(l.parts, &filePart{f: f})
			err = fill(f, old, size)
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("prepare partition %d: %w", i, err), l.Close())
		}
	}
	return l, syncDir(dir)
}

func partPath(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("%04d.log", i)) }

// Append queues the records and waits; a leader is started where none is at work.
func (l *fileLog) Append(stream int, records [][]byte) error {
	p := l.parts[stream]
	done := make(chan error, 1)
	p.mu.Lock()
	for i, r := range records {
		item := pendingItem{record: r}
		if i == len(records)-1 {
			item.done = done
		}
		p.queue = append(p.queue, item)
	}
	start := !p.busy
	p.busy = true
	p.mu.Unlock()
	if start {
		l.leaders.Go(func() { l.lead(p) })
	}
	return <-done
}

// lead commits batch after batch until nobody waits.
func (l *fileLog) lead(p *filePart) {
	var buf []byte
	for {
		p.mu.Lock()
		batch := p.queue
		p.queue = nil
		p.busy = len(batch) > 0
		p.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		buf = buf[:0]
		for _, item := range batch {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(len(item.record)))
			buf = append(buf, item.record...)
		}
		fd := int(p.f.Fd())
		err := pwrite(fd, buf, p.pos)
		if err == nil {
			p.pos += int64(len(buf))
			err = unix.Fdatasync(fd)
			l.syncs.Add(1)
		}
		for _, item := range batch {
			if item.done != nil {
				item.done <- err
			}
		}
	}
}

func (l *fileLog) Syncs() int64  { return l.syncs.Load() }
func (l *fileLog) Phase() string { return Recycled }

// Close cuts each file to what was written and closes it.
func (l *fileLog) Close() error {
	l.leaders.Wait()
	var errs []error
	for _, p := range l.parts {
		errs = append(errs, p.f.Truncate(p.pos), p.f.Sync(), p.f.Close())
	}
	l.parts = nil
	return errors.Join(errs...)
}

func readFiles(dir string, streams int, yield func(int, []byte) error) error {
	for i := range streams {
		if err := readPart(partPath(dir, i), func(r []byte) error { return yield(i, r) }); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
	}
	return nil
}

func readPart(path string, yield func([]byte) error) error {
	if err := forget(path); err != nil {
		return err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for len(raw) > 0 {
		if len(raw) < 4 || len(raw)-4 < int(binary.LittleEndian.Uint32(raw)) {
			return fmt.Errorf("%d bytes behind the last whole record", len(raw))
		}
		n := int(binary.LittleEndian.Uint32(raw))
		if err := yield(raw[4 : 4+n]); err != nil {
			return err
		}
		raw = raw[4+n:]
	}
	return nil
}
