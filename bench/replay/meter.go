package replay

import "runtime"

// tally is one value for each metric.
type tally [metricCount]int64

// meter sums up what moves between start and stop, again and again. What is
// allocated between is counted for the whole process: it is the replay's own, too,
// as little as that is.
type meter struct {
	c      *cluster
	sum    tally
	before tally
	mem    runtime.MemStats
}

// start and stop stop the world for a moment, which moves nothing. Reading the
// counters allocates, so it happens outside.
func (m *meter) start() {
	m.before = m.c.tally()
	runtime.ReadMemStats(&m.mem)
}

func (m *meter) stop() {
	mallocs, bytes := m.mem.Mallocs, m.mem.TotalAlloc
	runtime.ReadMemStats(&m.mem)
	m.sum[allocs] += int64(m.mem.Mallocs - mallocs)
	m.sum[allocBytes] += int64(m.mem.TotalAlloc - bytes)
	for i, v := range m.c.tally() {
		m.sum[i] += v - m.before[i]
	}
}

// live is how many bytes of the heap something still refers to. What waits to be used
// again is let go of: a sync.Pool drops what was not used between two collections.
func live() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// tally reads all counters of all nodes.
func (c *cluster) tally() (t tally) {
	for _, n := range c.nodes {
		d, log, raft, front := n.disk.counts(), n.log.Stats(), n.mgr.Stats(), n.front.Snapshot()
		t[fsyncs] += d.syncs
		t[writeCalls] += d.writes
		t[diskBytes] += d.writtenBytes
		t[readCalls] += d.reads
		t[readBytes] += d.readBytes
		t[walBytes] += log.FrameBytes
		t[raftProposals] += int64(raft.Proposals)
		t[raftEntries] += int64(raft.Proposed)
		t[frontReads] += front.Reads
		t[frontWrites] += front.Writes
		t[answerBytes] += front.BytesOut
	}
	w := c.wires.counts()
	t[raftMessages], t[raftBytes], t[raftFrames] = w.Messages, w.Bytes, w.Frames
	return t
}
