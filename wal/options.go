package wal

import (
	"fmt"
	"time"

	"dyno/wal/vfs"
)

const (
	segmentBytesMin = 64 << 10
	segmentBytesMax = 1 << 30 // record positions are kept in 32 bits of 8 bytes, and the scan in memory
	writeBytesMin   = 64 << 10
	pageBytes       = 4096
	// copyBytesMax is the largest record that a buffered log copies together; a
	// larger payload goes to the disk from the caller's own memory.
	copyBytesMax = 4 << 10
)

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	def(&o.SegmentBytes, 64<<20)
	def(&o.QueueBytesMax, min(64<<20, o.SegmentBytes/2))
	def(&o.WriteBytesMax, 4<<20)
	if o.SpareSegments == 0 {
		o.SpareSegments = 2
	}
	if o.RecycleMax == 0 {
		o.RecycleMax = 4
	}
	if o.confirmAfter == 0 {
		o.confirmAfter = 2 * time.Millisecond
	}
	if o.aheadBytes == 0 {
		o.aheadBytes = aheadBytes
	}
	if o.Notice == nil {
		o.Notice = func(Notice) {}
	}
	o.mut |= forced()
}

func def(v *int64, d int64) {
	if *v == 0 {
		*v = d
	}
}

func (o *Options) validate() error {
	switch {
	case o.Dir == "":
		return fmt.Errorf("wal: Options.Dir is required")
	case o.SegmentBytes < segmentBytesMin || o.SegmentBytes > segmentBytesMax || o.SegmentBytes%pageBytes != 0:
		return fmt.Errorf("wal: SegmentBytes %d is not a multiple of %d from %d to %d",
			o.SegmentBytes, pageBytes, segmentBytesMin, segmentBytesMax)
	case o.SpareSegments < 1 || o.RecycleMax < 0:
		return fmt.Errorf("wal: SpareSegments %d must be 1 or more, RecycleMax %d not negative", o.SpareSegments, o.RecycleMax)
	case o.QueueBytesMax < 1 || o.WriteBytesMax < writeBytesMin:
		return fmt.Errorf("wal: QueueBytesMax %d must be positive, WriteBytesMax %d at least %d",
			o.QueueBytesMax, o.WriteBytesMax, writeBytesMin)
	}
	return nil
}
