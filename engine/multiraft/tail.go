package multiraft

// tail bounds the bytes of entries that the groups of one worker keep in
// memory. The oldest go first, whichever group they belong to: a group that is
// busy has its tail in memory, one that is idle costs nothing.
//
// Owner: the worker.
type tail struct {
	max, bytes int64
	fifo       []tailRun
	head       int // fifo[:head] was evicted
}

// tailRun names one run of a groupLog. A run that a truncation has removed
// meanwhile is not found any more, which is fine.
type tailRun struct {
	log   *groupLog
	seq   uint64
	bytes int64
}

func (t *tail) add(r tailRun) {
	t.fifo = append(t.fifo, r)
	t.bytes += r.bytes
	for t.bytes > t.max && t.head < len(t.fifo) {
		old := t.fifo[t.head]
		t.fifo[t.head] = tailRun{}
		t.head++
		t.bytes -= old.bytes
		old.log.evict(old.seq)
	}
	if t.head > len(t.fifo)/2 {
		n := copy(t.fifo, t.fifo[t.head:])
		clear(t.fifo[n:])
		t.fifo, t.head = t.fifo[:n], 0
	}
}
