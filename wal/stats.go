package wal

import (
	"sync/atomic"
	"time"
)

// Stats are counters since Open and a few sizes of now.
type Stats struct {
	Submissions    int64 // Appends admitted, the log's own included
	Records        int64 // written, flush headers not counted
	PayloadBytes   int64 // bytes of Data that were submitted and written
	FrameBytes     int64 // by which the log grew: payload and framing, no page twice
	WrittenBytes   int64 // all that went to segments: payload, framing, padding
	ZeroBytes      int64 // zero-filled into new segments
	Writes         int64 // frames
	Syncs          int64 // fdatasync calls on segments that hold records
	SyncTime       time.Duration
	SyncMax        time.Duration
	Confirms       int64 // promise-only frames
	SegmentsMade   int64 // created and zero-filled
	SegmentsReused int64 // recycled
	Moved          int64 // entries rewritten to the head
	Refused        int64 // Appends refused with ErrDiskFull or ErrGap
	QueueBytesHigh int64 // most bytes ever queued
	QueueFull      int64 // how often Submit had to wait for room
	Streams        int64
	Segments       int64 // that hold records
	SegmentBytes   int64 // what their files take
}

// counters are the Stats that the flusher and the pool write.
type counters struct {
	submissions, records, payloadBytes, frameBytes atomic.Int64
	writtenBytes, zeroBytes                        atomic.Int64
	writes, syncs, syncTime, syncMax, confirms     atomic.Int64
	segmentsMade, segmentsReused, moved, refused   atomic.Int64
}

func (c *counters) synced(d time.Duration) {
	c.syncs.Add(1)
	c.syncTime.Add(int64(d))
	if int64(d) > c.syncMax.Load() { // one writer
		c.syncMax.Store(int64(d))
	}
}

// Stats reads the counters. It does not block on I/O; any goroutine.
func (l *Log) Stats() Stats {
	c := &l.counters
	s := Stats{
		Submissions:    c.submissions.Load(),
		Records:        c.records.Load(),
		PayloadBytes:   c.payloadBytes.Load(),
		FrameBytes:     c.frameBytes.Load(),
		WrittenBytes:   c.writtenBytes.Load(),
		ZeroBytes:      c.zeroBytes.Load(),
		Writes:         c.writes.Load(),
		Syncs:          c.syncs.Load(),
		SyncTime:       time.Duration(c.syncTime.Load()),
		SyncMax:        time.Duration(c.syncMax.Load()),
		Confirms:       c.confirms.Load(),
		SegmentsMade:   c.segmentsMade.Load(),
		SegmentsReused: c.segmentsReused.Load(),
		Moved:          c.moved.Load(),
		Refused:        c.refused.Load(),
	}
	s.QueueBytesHigh, s.QueueFull = l.queue.highWater()
	l.mu.RLock()
	defer l.mu.RUnlock()
	s.Streams = int64(len(l.streams))
	s.Segments = int64(len(l.segs))
	s.SegmentBytes = l.size()
	return s
}
