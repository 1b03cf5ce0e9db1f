package partition

import "dyno/engine/ids"

// LogFile is a stretch of the log that retention keeps or drops as a whole: a
// file of L1, or a stretch that is not moved there yet.
type LogFile struct {
	Base, End      ids.Offset // End is exclusive
	MaxTimestampMS int64      // negative: none known
	Bytes          int64
}

// Retain gives the log start that retention asks for: files holds the whole
// log in order, oldest first, and start is the log start now. Files go while
// their newest record is older than RetentionMS, and while the log without
// them still has RetentionBytes. It is a pure function; the result is never
// below start. Source: Kafka's UnifiedLog.deleteRetentionMsBreachedSegments and
// deleteRetentionSizeBreachedSegments.
//
// Differs from Kafka: files without timestamps stay as far as time goes (Kafka
// takes the file's modification time, which replicas do not agree on).
func Retain(s *Settings, start ids.Offset, files []LogFile, nowMS int64) ids.Offset {
	for len(files) > 0 && files[0].End <= start {
		files = files[1:]
	}
	var total int64
	for _, f := range files {
		total += f.Bytes
	}
	for _, f := range files {
		old := s.RetentionMS >= 0 && f.MaxTimestampMS >= 0 && nowMS-f.MaxTimestampMS > s.RetentionMS
		if !old {
			break
		}
		start, total = f.End, total-f.Bytes
	}
	for _, f := range files {
		if f.End <= start {
			continue
		}
		if s.RetentionBytes < 0 || total-f.Bytes < s.RetentionBytes {
			break
		}
		start, total = f.End, total-f.Bytes
	}
	return start
}

// hotFileBytesMin is what a stretch of the hot range has at least, but the last.
const hotFileBytesMin = 1 << 20

// hotFiles cuts the hot range into stretches: whole chunks of the index, of at
// least hotFileBytesMin.
func (p *Partition) hotFiles() []LogFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []LogFile
	for i, c := range p.index.chunks {
		if len(out) == 0 || out[len(out)-1].Bytes >= hotFileBytesMin {
			out = append(out, LogFile{Base: c.offset, MaxTimestampMS: -1})
		}
		f := &out[len(out)-1]
		f.End = p.index.end
		if i+1 < len(p.index.chunks) {
			f.End = p.index.chunks[i+1].offset
		}
		f.Bytes += int64(c.batches[len(c.batches)-1].end)
		f.MaxTimestampMS = max(f.MaxTimestampMS, c.maxMS)
	}
	return out
}

// clockShare is the part of the producers' expiry after which the leader states
// its clock again, so that expiry is exact to this part.
const clockShare = 24

// Housekeep gives the commands a leader should propose now, none most of the
// time: a new log start as retention asks for, given the files of L1 in order,
// and its clock while there are producers to forget. A partition without
// producers is left in peace. nowMS is a time that has passed for certain, 0 where
// none is known: then only bytes count. Call it every few minutes at least; any
// goroutine may call.
func (p *Partition) Housekeep(nowMS int64, cold []LogFile) [][]byte {
	var out [][]byte
	start := p.Offsets().LogStart
	files := append(append([]LogFile(nil), cold...), p.hotFiles()...)
	if to := Retain(p.Settings(), start, files, nowMS); to > start {
		out = append(out, LogStartCommand(to))
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	t := &p.producers
	if len(t.slots) > 0 && nowMS-t.clockMS >= max(t.expiryMS/clockShare, 1) {
		out = append(out, ClockCommand(nowMS))
	}
	return out
}

// Needed is the first log index that a read can still ask the log for: entries
// below it hold nothing at or above the log start, or are in L1. Any goroutine
// may call.
func (p *Partition) Needed() ids.LogIndex {
	p.applying.Lock()
	defer p.applying.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	from := max(p.start, p.index.first())
	if from >= p.index.end {
		return p.applied + 1
	}
	return p.index.index(p.index.find(from))
}
