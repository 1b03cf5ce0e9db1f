package kafka

import (
	"sync/atomic"
	"time"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// Produce (0): versions 3-13, advertised from 0 (see versions.go).
//
// Behaviour, with the class of Kafka 4.0 it follows:
//   - A partition takes exactly one v2 batch. No batch, magic 0 or 1, more than
//     one: INVALID_RECORD; zstd before version 7: UNSUPPORTED_COMPRESSION_TYPE
//     (ProduceRequest.validateRecords). Versions 0-2 end the connection, as they
//     do there.
//   - Bad checksum or framing: CORRUPT_MESSAGE; above max.message.bytes:
//     MESSAGE_TOO_LARGE (UnifiedLog.analyzeAndValidateRecords).
//   - acks other than -1, 0, 1: INVALID_REQUIRED_ACKS for every partition
//     (ReplicaManager.appendRecords).
//   - acks=0: no reply; an error closes the connection (KafkaApis.
//     handleProduceRequest). It waits for the local log like acks=1 before its
//     bytes leave the limits, so a client that never waits is held back by TCP:
//     at Acks0BytesMax of all such clients, for what the log refuses at acks=0 is
//     lost.
//   - The timeout is the client's: what the log has not answered by then is
//     REQUEST_TIMED_OUT, and the batch may still be committed.
//   - Topic compression.type and message.timestamp.type are applied here, on
//     the connection's reader: on the log's goroutines it would hold up others.
//   - A partition led elsewhere: NOT_LEADER_OR_FOLLOWER with the leader and its
//     address from version 10 on (KIP-951).
//   - After a batch of an idempotent producer was refused for want of room, its
//     later ones on this connection are refused likewise until that one comes
//     again (refused.go).
//
// Differs from Kafka: acks=1 is answered when the leader's log is durable, not
// when it lies in the page cache. A frame that does not decode closes the
// connection before anything of it is appended. A partition named twice gets
// two batches. Transactional batches are INVALID_TXN_STATE: no transactions yet.
// Produce is carried out when it is read, other requests when their turn to be
// answered comes: one sent behind an unanswered CreateTopics may be too early.
//
// The hot path, per request; the marked lines are all it allocates:
//
//	reader:  walk the body once: bounds, number of partitions   no side effect
//	         new(produce) with room for one partition           1 allocation
//	         a slice for more partitions                        1 per request
//	         for each partition:
//	           Backend.Partition(name or id)                    lock-free
//	           ParseBatch: the only pass over the bytes (CRC)
//	           Partition.Append(&part.Append)                   one object
//	         push to the ring
//	log:     Appended → done → the last one wakes the writer, if it sleeps for it
//	writer:  reply into the chunk, writev
//
// The bytes: socket → slab (read(2)) → … the same bytes … → the log's pwritev.
// The one user-space copy there can be is that of slab.go.

// produce is one request between reader and writer.
type produce struct {
	header
	c        *conn
	acks     int16
	deadline time.Duration // server time
	bytes    int64         // taken from the broker's budget

	// pending counts the partitions the log has not answered, plus one while the
	// reader is still handing them over.
	pending atomic.Int32
	parts   []produced
	one     [1]produced
}

// produced is one partition's batch of a request. The embedded Append is the
// log's until answered is set.
type produced struct {
	partition.Append
	req  *produce
	part Partition // nil where it was refused before that was known

	topic  []byte // name, bytes of the slab; or
	id     ids.TopicID
	index  ids.Partition
	first  int32 // on a topic's first partition: how many it has here
	code   code  // refused by the front; owner: reader, then writer
	reason error // behind code; nil without one

	answered atomic.Bool
}

// Appended implements partition.Reply. It is on the log's goroutine.
func (d *produced) Appended(*partition.Append) {
	if d.Err != nil {
		d.req.refuse(d, leaderUnknown, d.Err)
	}
	d.answered.Store(true)
	d.req.settle()
}

// settle takes one from pending; the last one gives the request's bytes back to
// the broker's budgets and wakes the writer. Nothing else gives them back, not a
// client's deadline nor the end of its connection: until then the log holds them.
func (p *produce) settle() {
	if p.pending.Add(-1) > 0 {
		return
	}
	p.c.srv.budget.release(p.bytes)
	if p.acks == 0 {
		p.c.srv.acks0.release(p.bytes)
	}
	if p.c.parked.Load() == p {
		signal(p.c.wake)
	}
}

func (p *produce) done() bool { return p.pending.Load() <= 0 }

// produceBody walks the body of a Produce. With parts nil it only checks and
// counts; with parts it fills in topic, index and Data of each.
type produceBody struct {
	acks    int16
	timeout int32
	parts   int
	txn     bool
}

func walkProduce(h header, body []byte, parts []produced) (out produceBody, ok bool) {
	d := dec{b: body}
	flex := h.flexible
	out.txn = d.nullable(flex) != nil
	out.acks, out.timeout = d.i16(), d.i32()
	topics := d.count(flex, 3) // the shortest: an empty name and no partitions
	for ; topics > 0 && !d.bad; topics-- {
		var name []byte
		var id ids.TopicID
		if h.version >= 13 {
			id = d.uuid()
		} else {
			name = d.str(flex)
		}
		n := d.count(flex, 5)
		for i := 0; i < n && !d.bad; i++ {
			index := ids.Partition(d.i32())
			records := d.bytes(flex)
			d.tags(flex)
			if parts != nil && !d.bad {
				p := &parts[out.parts]
				p.topic, p.id, p.index, p.Data = name, id, index, records
				if i == 0 {
					p.first = int32(n)
				}
			}
			out.parts++
		}
		d.tags(flex)
	}
	d.tags(flex)
	return out, !d.bad && len(d.b) == 0
}

// produce hands the batches of one request to the log. ok is false where the
// body does not decode, and where the connection ended while a request at acks=0
// waited; nothing was appended then.
func (c *conn) produce(h header, body []byte, bytes int) (p *produce, ok bool) {
	in, ok := walkProduce(h, body, nil)
	if !ok || in.parts > c.srv.cfg.RequestPartitionsMax {
		return nil, false
	}
	if in.acks == 0 && !c.takeAcks0(int64(bytes)) {
		c.because(closedDrain) // unless it ended for another reason
		return nil, false
	}
	p = &produce{
		header: h, c: c, acks: in.acks, bytes: int64(bytes),
		deadline: c.srv.now() + c.srv.timeout(in.timeout),
	}
	p.parts = p.one[:]
	if in.parts != 1 {
		p.parts = make([]produced, in.parts)
	}
	walkProduce(h, body, p.parts)
	c.rd.kept = true
	dawdleRequest()
	p.pending.Store(1)
	for i := range p.parts {
		p.append(&p.parts[i])
	}
	p.settle()
	return p, true
}

// append checks one batch and hands it to its partition, or leaves the reason
// why not in d.
func (p *produce) append(d *produced) {
	d.req = p
	d.AppendTimeMS = -1
	d.code, d.reason = p.check(d)
	if d.code != codeNone {
		d.Data = nil
	}
}

func (p *produce) check(d *produced) (code, error) {
	if p.acks < -1 || p.acks > 1 {
		return codeInvalidRequiredAcks, nil
	}
	part, err := p.find(d)
	if err != nil {
		return codeOfTopic(err, p.version >= 13), err
	}
	set := part.Settings()
	if len(d.Data) > set.MaxMessageBytes {
		return codeMessageTooLarge, partition.ErrBatchTooLarge
	}
	if c := foreign(d.Data, p.version); c != codeNone {
		return c, nil
	}
	if d.Batch, err = partition.ParseBatch(d.Data); err != nil {
		return codeOf(err), err
	}
	dawdleBatch(d.Batch.Records)
	if err := p.room(part, d); err != nil {
		return codeOf(err), err
	}
	if c, err := d.adapt(set); c != codeNone {
		return c, err
	}
	return p.hand(part, d)
}

// room says why the batch may not go on for want of room, for itself or for one
// of its producer before it.
func (p *produce) room(part Partition, d *produced) error {
	d.part = part
	if err := p.c.refused.look(part, &d.Batch, p.c.srv.now(), p.c.srv.cfg.RequestTimeout); err != nil {
		return err
	}
	if p.c.srv.cfg.Backend.DiskFull() {
		_, leader := part.Leader()
		p.refuse(d, leader, replica.ErrDiskFull)
		return replica.ErrDiskFull
	}
	return nil
}

// refuse remembers a refusal that holds up the producer's later batches. The
// reply has left by the request's deadline; from then on the client has
// RequestTimeout to come again.
func (p *produce) refuse(d *produced, leader ids.LeaderEpoch, err error) {
	if d.Batch.ProducerID >= 0 && unwritten(err) {
		until := max(p.deadline, p.c.srv.now()) + p.c.srv.cfg.RequestTimeout
		if p.c.refused.add(d.part, &d.Batch, leader, until, err) {
			p.c.srv.count.refusalsForgotten.Add(1)
		}
	}
}

// hand gives a checked batch to its partition.
func (p *produce) hand(part Partition, d *produced) (code, error) {
	d.Wait = replica.WaitDurable
	if p.acks == -1 {
		d.Wait = replica.WaitCommit
	}
	d.Reply = d
	p.pending.Add(1)
	if err := part.Append(&d.Append); err != nil {
		p.pending.Add(-1) // never the last: the reader holds one itself
		_, leader := part.Leader()
		p.refuse(d, leader, err)
		return codeOf(err), err
	}
	p.c.srv.count.batches.Add(1)
	return codeNone, nil
}

// find looks the partition up: the hot path.
func (p *produce) find(d *produced) (Partition, error) {
	if p.version >= 13 {
		return p.c.srv.cfg.Backend.PartitionByID(d.id, d.index)
	}
	return p.c.srv.cfg.Backend.Partition(d.topic, d.index)
}

// Where the attributes of a v2 batch are, and two bits of them.
const (
	posMagic       = 16
	posAttributes  = 21
	attrCodecMask  = 0x07
	attrTxn        = 0x10
	codecZstd      = 4
	zstdMinVersion = 7
)

// foreign refuses what ParseBatch would accept or name differently: batches
// that this request version may not carry.
func foreign(b []byte, version int16) code {
	switch {
	case len(b) <= posMagic:
		return codeInvalidRecord // not even the begin of a batch: "must have one"
	case b[posMagic] != 2 || len(b) < posAttributes+2:
		return codeNone
	case b[posAttributes+1]&attrTxn != 0:
		return codeInvalidTxnState
	case b[posAttributes+1]&attrCodecMask == codecZstd && version < zstdMinVersion:
		return codeUnsupportedCodec
	}
	return codeNone
}

// replyProduce writes the reply to p into the buffer. It returns false where
// the connection must end: an error with acks=0.
func (c *conn) replyProduce(p *produce) bool {
	failed := p.outcome()
	if p.acks == 0 {
		if failed {
			c.flush()
			c.kill(closedUnacked)
		}
		return !failed
	}
	p.encode(&c.wr.out)
	return true
}

// outcome settles the code of each partition and says whether one failed. One
// the log has not answered is timed out from now on; it may answer later, but
// nobody reads it any more. With acks=0 that is no failure: nobody waits.
func (p *produce) outcome() (failed bool) {
	for i := range p.parts {
		d := &p.parts[i]
		switch {
		case d.code != codeNone:
			failed = true
		case d.answered.Load():
			d.code, d.reason = codeOf(d.Err), d.Err
			failed = failed || d.code != codeNone
		default:
			d.code, d.reason = codeRequestTimedOut, replica.ErrTimeout
			failed = failed || p.acks != 0
			p.c.srv.count.timeouts.Add(1)
		}
		p.c.srv.count.failed(d.code)
	}
	return failed
}

// encode writes the reply.
func (p *produce) encode(o *out) {
	flex := p.flexible
	o.begin(p.correlation, flex)
	topics := 0
	for i := range p.parts {
		if p.parts[i].first > 0 {
			topics++
		}
	}
	o.count(flex, topics)
	var lead leaders
	for i := range p.parts {
		d := &p.parts[i]
		if d.first > 0 {
			o.topic(flex, p.version >= 13, d.topic, d.id)
			o.count(flex, int(d.first))
		}
		p.encodePartition(o, d, &lead)
		if i+1 == len(p.parts) || p.parts[i+1].first > 0 {
			o.tags(flex)
		}
	}
	o.i32(0) // throttle time
	lead.encode(o, flex, p.c.srv.cfg.Backend)
	o.end()
}

func (p *produce) encodePartition(o *out, d *produced, lead *leaders) {
	flex := p.flexible
	base, start, stamped := ids.Offset(-1), ids.Offset(-1), int64(-1)
	if d.code == codeNone {
		base, start, stamped = d.Base, d.LogStart, d.AppendTimeMS
	}
	o.i32(int32(d.index))
	o.i16(int16(d.code))
	o.i64(int64(base))
	o.i64(stamped)
	if p.version >= 5 {
		o.i64(int64(start))
	}
	if p.version >= 8 {
		o.count(flex, 0) // errors of single records: none, a batch fails whole
		if d.reason != nil {
			o.str(flex, []byte(d.reason.Error()))
		} else {
			o.null(flex)
		}
	}
	if d.code != codeNotLeader || p.version < 10 {
		o.tags(flex)
	} else if at := findLeader(p.c.srv.cfg.Backend, d.topic, d.id, d.index); at.node == 0 {
		o.tags(flex)
	} else {
		o.uvarint(1)
		lead.tag(o, 0, at)
	}
}
