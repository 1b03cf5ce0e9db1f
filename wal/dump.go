package wal

import (
	"errors"
	"fmt"
	"io"

	"dyno/wal/vfs"
)

// DumpOptions says how much Dump prints.
type DumpOptions struct {
	Frames  bool   // every flush header
	Records bool   // every record too
	Stream  uint64 // records of this stream only; 0 means all
}

// Dump prints what the log in dir holds: its segments in order, their frames
// and records, and the verdict on its end. It takes no lock and changes
// nothing; a log in use may look torn. Damage is printed where it is found and
// returned as a *DamageError after all that can be read has been printed.
func Dump(w io.Writer, fsys vfs.FS, dir string, opts DumpOptions) error {
	o := Options{FS: fsys, Dir: dir, ReadOnly: true}
	o.setDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	l := &Log{opts: o, streams: map[uint64]*stream{}, queue: newQueue(o.QueueBytesMax)}
	l.pool = newPool(l)
	r := &recovery{l: l, w: &flusher{l: l}}
	if _, err := r.identify(); err != nil {
		return fmt.Errorf("wal: dump %s: %w", dir, err)
	}
	defer r.abandon()
	d := &dumper{w: w, r: r, opts: opts}
	damage := d.run()
	return errors.Join(damage, d.err)
}

// dumper prints; the first write error stays in err and silences the rest.
type dumper struct {
	w    io.Writer
	r    *recovery
	opts DumpOptions
	win  window
	err  error
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

func (d *dumper) run() error {
	r := d.r
	if err := r.list(); err != nil {
		return err
	}
	d.printf("log %x format %d: %d segment files, %d spares\n", r.l.id, formatVersion, len(r.all), len(r.l.pool.back))
	damage := r.findTail()
	if damage == nil {
		damage = r.link()
	}
	in := map[int]int64{}
	for i, k := range r.chain {
		in[k] = r.limits[i]
	}
	for i, s := range r.all {
		limit, counts := in[i]
		if err := d.segment(i, s, limit, counts); err != nil {
			damage = errors.Join(damage, err)
		}
	}
	if damage != nil {
		d.printf("verdict: DAMAGED: %v\n", damage)
		return damage
	}
	d.printf("verdict: %s\n", r.verdict())
	return nil
}

// verdict says how the log ends.
func (r *recovery) verdict() string {
	if r.tail < 0 {
		return "empty"
	}
	at := fmt.Sprintf("ends at byte %d of segment %d", r.end.end, r.all[r.tail].seq)
	alone := r.end.lastPos+flushBytes == r.end.end
	switch {
	case r.end.torn:
		return fmt.Sprintf("torn tail: %s (%s); nothing behind it was promised", at, r.end.why)
	case alone && r.end.last.flags&flagClean != 0:
		return "closed cleanly: " + at
	case alone && r.end.last.promise == point{r.all[r.tail].seq, r.end.lastPos}:
		return "confirmed: " + at
	}
	return "not confirmed: " + at + "; damage to the last frame could not be told from a tear"
}

// segment prints one file; counts says that it is part of the log, which then
// ends in it at limit.
func (d *dumper) segment(i int, s *segment, limit int64, counts bool) error {
	ff := d.r.first[i]
	if !ff.ok {
		d.printf("segment %d: %d bytes, not begun\n", s.seq, s.size)
		return nil
	}
	if !counts && s.seq < d.r.oldest {
		d.printf("segment %d: %d bytes, released\n", s.seq, s.size)
		return nil
	}
	if !counts {
		limit = s.size
	}
	keep := keepRecords
	if d.opts.Frames || d.opts.Records {
		keep = keepFrames
	}
	sc, err := scan(s, &d.win, limit, keep, nil)
	if err != nil {
		return err
	}
	after := "the first of the log"
	if ff.prev.seq != 0 {
		after = fmt.Sprintf("follows segment %d at byte %d", ff.prev.seq, ff.prev.off)
	}
	d.printf("segment %d: %d bytes, %d used, %d records, %s, oldest that counts %d\n", s.seq, s.size, sc.end, len(sc.records), after, ff.oldest)
	d.frames(&sc)
	if counts && sc.end != limit {
		e := &DamageError{File: s.name, Pos: sc.end, Reason: sc.why}
		d.printf("  DAMAGE at byte %d: %s, but it was durable up to byte %d\n", sc.end, sc.why, limit)
		return e
	}
	return nil
}

func (d *dumper) frames(sc *scanned) {
	for i, f := range sc.frames {
		end := len(sc.records)
		if i+1 < len(sc.frames) {
			end = sc.frames[i+1].records
		}
		clean := ""
		if f.flags&flagClean != 0 {
			clean = ", clean end"
		}
		d.printf("  frame at %d: %d bytes, %d records, promises segment %d byte %d, oldest %d%s\n",
			f.pos, f.bytes, end-f.records, f.promise.seq, f.promise.off, f.oldest, clean)
		if !d.opts.Records {
			continue
		}
		for k := f.records; k < end; k++ {
			d.record(&sc.records[k])
		}
	}
}

func (d *dumper) record(c *logged) {
	if d.opts.Stream != 0 && d.opts.Stream != c.stream {
		return
	}
	d.printf("    %d: stream %d %s", c.at.pos(), c.stream, c.kind)
	switch c.kind {
	case KindEntry, kindMoved:
		d.printf(" index %d term %d type %d, %d bytes\n", c.index, c.term, c.typ, c.at.size)
	case KindState:
		d.printf(" term %d vote %d commit %d\n", c.term, c.vote, c.index)
	case KindTruncateBefore:
		d.printf(" first kept %d, term before it %d\n", c.index, c.term)
	case KindTruncateAfter:
		d.printf(" last kept %d\n", c.index)
	default:
		d.printf("\n")
	}
}

// String names a kind as Dump prints it.
func (k Kind) String() string {
	switch k {
	case KindEntry:
		return "entry"
	case KindState:
		return "state"
	case KindTruncateAfter:
		return "truncate-after"
	case KindTruncateBefore:
		return "truncate-before"
	case KindRemove:
		return "remove"
	case kindMoved:
		return "moved"
	case kindFlush:
		return "flush"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}
