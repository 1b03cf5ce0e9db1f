package kafka

import (
	"errors"
	"time"

	"dyno/engine/ids"
	"dyno/engine/partition"
)

// Fetch (1): versions 4-18.
//
// Behaviour, with the class of Kafka 4.0 it follows:
//   - Only committed records are returned, up to the high watermark, or the
//     last stable offset with read_committed (ReplicaManager.readFromLog).
//   - The first batch of the first partition that has one is returned whole
//     however large it is; MaxBytes and the partition's own limit hold beyond
//     it (minOneMessage).
//   - It waits for MinBytes until MaxWait, woken once per commit. An error in
//     any partition ends the wait.
//   - An offset below the log start or above the log end: OFFSET_OUT_OF_RANGE;
//     between high watermark and log end: nothing yet. Above the log end of a
//     replica that may not know all that is committed: OFFSET_NOT_AVAILABLE.
//   - The leader epoch of the request is checked: FENCED_LEADER_EPOCH,
//     UNKNOWN_LEADER_EPOCH; the epoch last fetched, where given, is compared
//     with the log's and answered by the diverging epoch (KIP-595).
//   - Fetch sessions (KIP-227) are declined by session id 0; a request within a
//     session is FETCH_SESSION_ID_NOT_FOUND (FetchManager.newContext).
//   - From version 11 on a consumer is served by followers, too, and shown the
//     one in its rack (KIP-392): see fetch_follower.go.
//   - Otherwise a partition led elsewhere: NOT_LEADER_OR_FOLLOWER with the leader
//     and its address from version 16 on (KIP-951).
//
// Differs from Kafka: a leader serves a request from a replica as one from a
// consumer: replication has its own protocol. The answer is built when its turn
// in the connection's order comes, so several fetches on one connection are
// served one after the other, each with the newest data, and only one answer is
// held in memory.
//
// Batches go from the log's memory to the socket by reference, in one writev
// with the headers between them.

// fetch is a decoded request with room for its answer.
type fetch struct {
	maxWait         time.Duration
	minBytes        int
	maxBytes        int
	committed       bool
	session, sepoch int32
	starved         bool   // no room in the broker's budget: nothing is read
	full            bool   // there is more than maxBytes
	anyReplica      bool   // from a consumer that followers may serve
	rack            []byte // the consumer's; empty none

	topics []fetchTopic
	parts  []fetchPart // of all topics, in order
}

type fetchTopic struct {
	name  []byte
	id    ids.TopicID
	parts int
}

type fetchPart struct {
	topic     *fetchTopic
	index     ids.Partition
	epoch     ids.LeaderEpoch // the client's; -1 none
	lastEpoch ids.LeaderEpoch // of the record before offset; -1 none
	offset    ids.Offset
	max       int

	part      Partition  // nil where code is set at once
	follower  bool       // part is led elsewhere and serves all the same
	behind    bool       // lacks offset yet, and code says so
	preferred ids.NodeID // where the consumer shall read instead; -1 here
	code      code
	res       partition.ReadResult
	diverged  partition.EpochEnd // Epoch -1: not
}

// parseFetch decodes the body of a Fetch; nothing refers to body afterwards.
func parseFetch(h header, body []byte, most int) (*fetch, bool) {
	v, flex := h.version, h.flexible
	d := dec{b: append([]byte(nil), body...)}
	replica := int32(-1)
	if v <= 14 {
		replica = d.i32()
	}
	f := &fetch{maxWait: time.Duration(d.i32()) * time.Millisecond, sepoch: -1}
	f.minBytes, f.maxBytes = int(d.i32()), int(d.i32())
	f.committed = d.i8() == 1
	if v >= 7 {
		f.session, f.sepoch = d.i32(), d.i32()
	}
	n := d.count(flex, 3)
	if n > most {
		return nil, false
	}
	f.topics = make([]fetchTopic, 0, max(n, 0))
	for ; n > 0 && !d.bad; n-- {
		f.topics = append(f.topics, fetchTopic{})
		t := &f.topics[len(f.topics)-1]
		if v >= 13 {
			t.id = d.uuid()
		} else {
			t.name = d.str(flex)
		}
		t.parts = max(d.count(flex, 16), 0)
		if len(f.parts)+t.parts > most {
			return nil, false
		}
		f.parseParts(&d, h, t)
		d.tags(flex)
	}
	if id := f.parseRest(&d, h); v > 14 {
		replica = id
	}
	f.anyReplica = v >= 11 && replica < 0
	return f, !d.bad && len(d.b) == 0
}

func (f *fetch) parseParts(d *dec, h header, t *fetchTopic) {
	for i := 0; i < t.parts && !d.bad; i++ {
		p := fetchPart{topic: t, epoch: -1, lastEpoch: -1, preferred: -1}
		p.index = ids.Partition(d.i32())
		if h.version >= 9 {
			p.epoch = ids.LeaderEpoch(d.i32())
		}
		p.offset = ids.Offset(d.i64())
		if h.version >= 12 {
			p.lastEpoch = ids.LeaderEpoch(d.i32())
		}
		if h.version >= 5 {
			d.i64() // a follower's log start
		}
		p.max = int(d.i32())
		d.tags(h.flexible)
		f.parts = append(f.parts, p)
	}
}

// parseRest reads the topics to forget (there are no sessions), the rack and,
// from version 15 on, the id of a replica; -1 is a consumer.
func (f *fetch) parseRest(d *dec, h header) (replica int32) {
	if h.version >= 7 {
		for n := d.count(h.flexible, 3); n > 0 && !d.bad; n-- {
			if h.version >= 13 {
				d.uuid()
			} else {
				d.str(h.flexible)
			}
			if k := d.count(h.flexible, 4); k > 0 {
				d.span(4 * k)
			}
			d.tags(h.flexible)
		}
	}
	if h.version >= 11 {
		f.rack = d.str(h.flexible)
	}
	if h.version >= 15 {
		return d.replicaTag()
	}
	d.tags(h.flexible)
	return -1
}

// runFetch answers a Fetch; it may wait and read the disk.
func (c *conn) runFetch(k *call) {
	f := k.fetch
	if f.sepoch > 0 || f.sepoch < -1 {
		c.srv.count.failed(codeSessionNotFound)
		f.topics, f.parts = nil, nil
		f.encode(k.header, &c.wr.out, c.srv.cfg.Backend, codeSessionNotFound)
		return
	}
	f.maxBytes = min(max(f.maxBytes, 0), c.srv.cfg.FetchBytesMax)
	f.find(c.srv.cfg.Backend, c.srv.self, k.version)
	end := c.srv.now() + min(max(f.maxWait, 0), c.srv.cfg.TimeoutMax)
	if bytes, failed := c.readFetch(f, end); !f.enough(bytes, failed) && len(f.parts) > 0 {
		c.waitFetch(f, end)
	}
	for i := range f.parts {
		c.srv.count.failed(f.parts[i].code)
	}
	f.encode(k.header, &c.wr.out, c.srv.cfg.Backend, codeNone)
}

// find looks the partitions up on node self.
func (f *fetch) find(b Backend, self ids.NodeID, version int16) {
	for i := range f.parts {
		p := &f.parts[i]
		var err error
		if version >= 13 {
			p.part, err = b.PartitionByID(p.topic.id, p.index)
		} else {
			p.part, err = b.Partition(p.topic.name, p.index)
		}
		if err != nil {
			p.part, p.code = nil, codeOfTopic(err, version >= 13)
			continue
		}
		p.check(f, self)
	}
	if len(f.rack) > 0 && f.anyReplica {
		f.prefer(b)
	}
}

// checkLeader says whether this node leads p in the epoch a client believes in
// (-1: it does not say).
func checkLeader(p Partition, self ids.NodeID, epoch ids.LeaderEpoch) code {
	node, now := p.Leader()
	switch {
	case epoch >= 0 && epoch < now:
		return codeFencedEpoch
	case epoch > now:
		return codeUnknownEpoch
	case node != self:
		return codeNotLeader
	}
	return codeNone
}

// read reads all partitions anew. failed says that one has an error or
// something else to tell at once; that an offset is not here yet is not told
// before the wait is over, as it is about to come.
func (f *fetch) read() (bytes int, failed bool) {
	f.full = false
	for i := range f.parts {
		p := &f.parts[i]
		if p.code == codeNone {
			left := f.maxBytes - bytes
			p.read(f, left, bytes == 0)
			bytes += p.res.Bytes
			f.full = f.full || left < p.max && p.more(f.committed)
		}
		failed = failed || p.code != codeNone && !p.behind || p.diverged.Epoch >= 0 || p.preferred >= 0
	}
	return bytes, failed
}

// enough says that there is nothing to wait for: what a client wants at least may be
// more than it takes.
func (f *fetch) enough(bytes int, failed bool) bool {
	return bytes >= f.minBytes || failed || f.starved || f.full
}

// more says that the partition has batches after what was read.
func (p *fetchPart) more(committed bool) bool {
	next, end := p.offset, p.res.HighWatermark
	if committed {
		end = p.res.LastStable
	}
	if n := len(p.res.Batches); n > 0 {
		_, next = partition.BatchRange(p.res.Batches[n-1])
	}
	return p.code == codeNone && p.diverged.Epoch < 0 && p.preferred < 0 && next < end
}

// read reads one partition: at most left bytes, or a whole first batch where
// nothing was found yet.
func (p *fetchPart) read(f *fetch, left int, first bool) {
	p.diverged = partition.EpochEnd{Epoch: -1, End: -1}
	if p.preferred >= 0 {
		p.res = partition.ReadResult{Offsets: p.part.Offsets()}
		return
	}
	if p.lastEpoch >= 0 {
		if p.lacks() { // and would be taken for a log that was cut
			p.code, p.behind = codeOffsetNotAvailable, true
			return
		}
		end := p.part.EpochEnd(p.lastEpoch)
		if end.Epoch < 0 {
			p.code = codeOffsetOutOfRange
			return
		}
		if end.Epoch < p.lastEpoch || end.End < p.offset {
			p.diverged = end
			p.res = partition.ReadResult{Offsets: p.part.Offsets()}
			return
		}
	}
	limit := min(left, p.max)
	if f.starved || limit <= 0 && !first {
		p.res = partition.ReadResult{Offsets: p.part.Offsets()}
		return
	}
	var err error
	p.res, err = p.part.Read(partition.ReadArgs{
		Offset: p.offset, MaxBytes: max(limit, 0), One: first, Committed: f.committed,
	})
	if errors.Is(err, partition.ErrOffsetOutOfRange) {
		if o := p.part.Offsets(); p.offset >= o.LogStart && p.offset <= o.LogEnd {
			p.res, err = partition.ReadResult{Offsets: o}, nil
		} else if p.lacks() {
			p.code, p.behind = codeOffsetNotAvailable, true
			return
		}
	}
	p.code = codeOfRead(err)
}

// dropBatches lets go of what was read.
func (f *fetch) dropBatches() {
	for i := range f.parts {
		f.parts[i].res = partition.ReadResult{}
	}
}

// waitFetch waits until there are MinBytes, an error, or no time left. A client
// that went away and a server that drains end it, too.
func (c *conn) waitFetch(f *fetch, end time.Duration) {
	wake := make(chan struct{}, 1)
	for i := range f.parts {
		f.parts[i].part.Watch(wake)
	}
	defer func() {
		for i := range f.parts {
			f.parts[i].part.Unwatch(wake)
		}
	}()
	for {
		for i := range f.parts { // leadership may be lost while it waits
			f.parts[i].check(f, c.srv.self)
		}
		f.dropBatches()
		bytes, failed := c.readFetch(f, end)
		left := end - c.srv.now()
		if f.enough(bytes, failed) || left <= 0 {
			return
		}
		select {
		case <-wake:
		case <-c.after(left):
		case <-c.eof:
			return
		case <-c.dead:
			return
		}
	}
}

// encode writes the reply, batches by reference.
func (f *fetch) encode(h header, o *out, b Backend, top code) {
	v, flex := h.version, h.flexible
	o.begin(h.correlation, flex)
	o.i32(0) // throttle time
	if v >= 7 {
		o.i16(int16(top))
		o.i32(0) // no session
	}
	o.count(flex, len(f.topics))
	var lead leaders
	parts := f.parts
	for i := range f.topics {
		t := &f.topics[i]
		o.topic(flex, v >= 13, t.name, t.id)
		o.count(flex, t.parts)
		for j := range parts[:t.parts] {
			parts[j].encode(f, v, flex, o, b, &lead)
		}
		parts = parts[t.parts:]
		o.tags(flex)
	}
	lead.encode(o, flex, b)
	o.end()
}

func (p *fetchPart) encode(f *fetch, v int16, flex bool, o *out, b Backend, lead *leaders) {
	r := &p.res
	if p.code != codeNone {
		*r = partition.ReadResult{Offsets: partition.Offsets{LogStart: -1, LastStable: -1, HighWatermark: -1}}
	}
	o.i32(int32(p.index))
	o.i16(int16(p.code))
	o.i64(int64(r.HighWatermark))
	o.i64(int64(r.LastStable))
	if v >= 5 {
		o.i64(int64(r.LogStart))
	}
	if f.committed && p.code == codeNone {
		o.count(flex, 0) // aborted transactions: none
	} else {
		o.count(flex, -1)
	}
	if v >= 11 {
		o.i32(int32(p.preferred))
	}
	n := 0
	for _, batch := range r.Batches {
		n += len(batch)
	}
	o.count(flex, n)
	for _, batch := range r.Batches {
		o.ref(batch)
	}
	if flex {
		p.encodeTags(v, o, b, lead)
	}
}

// encodeTags writes the tagged fields of a partition: diverging epoch 0,
// current leader 1.
func (p *fetchPart) encodeTags(v int16, o *out, b Backend, lead *leaders) {
	var at leaderAt
	if v >= 16 && (p.code == codeNotLeader || p.code == codeFencedEpoch) {
		at = findLeader(b, p.topic.name, p.topic.id, p.index)
	}
	switch {
	case p.code == codeNone && p.diverged.Epoch >= 0:
		o.uvarint(1)
		o.uvarint(0)
		o.uvarint(13)
		o.i32(int32(p.diverged.Epoch))
		o.i64(int64(p.diverged.End))
		o.tags(true)
	case at.node != 0:
		o.uvarint(1)
		lead.tag(o, 1, at)
	default:
		o.tags(true)
	}
}
