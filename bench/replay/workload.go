package replay

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/enginetest"
	"dyno/engine/ids"
)

// The workload, fixed by a seed: what one producer sends to a topic of partitions,
// step by step. A step is a burst of pipelined requests to some of the leaders, all
// before anything is answered; every tickEvery-th ends with a tick.
const (
	partitions  = 9
	leaders     = 3 // partition p belongs to leader p mod leaders, on however many nodes
	warmSteps   = 30
	steps       = 150
	tickEvery   = 8
	requestsMax = 4  // of a burst
	batchesMax  = 3  // of a request, one a partition
	recordsMax  = 12 // of a batch
	valueMin    = 64
	valueMax    = 1024
	acksOneIn   = 8 // requests; the others ask for acks=all
	seed        = 1

	produceVersion = 12
	fetchVersion   = 16
	producerID     = ids.ProducerID(4711)
)

// workload is all that is sent, and what must be read back.
type workload struct {
	steps   []step
	records int64
	sent    [partitions]uint32 // checksum over all batches, see batchSum
	sum     uint32             // over all frames: it names the workload
}

type step struct {
	bursts  []burst
	records int64
	tick    bool
}

// burst is requests to one leader, as bytes of one connection.
type burst struct {
	leader   int
	frames   []byte
	requests []*kmsg.ProduceRequest
}

// newWorkload makes the workload; it is the same each time.
func newWorkload() *workload {
	w, r := &workload{}, rand.New(rand.NewPCG(seed, 0x7265706c6179))
	var sequence [partitions]int32
	for i := range warmSteps + steps {
		s := step{tick: i%tickEvery == tickEvery-1}
		for leader := range leaders {
			if r.IntN(3) == 0 {
				continue
			}
			b := burst{leader: leader}
			for range 1 + r.IntN(requestsMax) {
				req, n := w.request(r, leader, &sequence)
				s.records += n
				b.requests = append(b.requests, req)
				b.frames = append(b.frames, kmsg.NewRequestFormatter().AppendRequest(nil, req, int32(len(b.requests)))...)
			}
			w.sum = crc32.Update(w.sum, castagnoli, b.frames)
			s.bursts = append(s.bursts, b)
		}
		w.records += s.records
		w.steps = append(w.steps, s)
	}
	return w
}

func (w *workload) request(r *rand.Rand, leader int, sequence *[partitions]int32) (*kmsg.ProduceRequest, int64) {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, -1, 30_000
	if r.IntN(acksOneIn) == 0 {
		req.Acks = 1
	}
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	records := int64(0)
	for k := range 1 + r.IntN(batchesMax) {
		p := leader + leaders*k
		b := enginetest.Batch{Producer: producerID, Sequence: sequence[p], TimeMS: 1_000_000 + int64(sequence[p])}
		for range 1 + r.IntN(recordsMax) {
			value := make([]byte, 0, valueMax+8)
			for n := valueMin + r.IntN(valueMax-valueMin); len(value) < n; {
				value = binary.LittleEndian.AppendUint64(value, r.Uint64())
			}
			b.Values = append(b.Values, string(value))
		}
		sequence[p] += int32(len(b.Values))
		records += int64(len(b.Values))
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = int32(p), b.Encode()
		w.sent[p] = batchSum(w.sent[p], part.Records)
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	return req, records
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ownBytes are what a broker may write in a batch: offset, length, leader epoch,
// magic and checksum. What follows is the producer's.
const ownBytes = 21

// batchSum chains the producer's part of a batch to the checksum of those before.
func batchSum(sum uint32, batch []byte) uint32 {
	return crc32.Update(sum, castagnoli, batch[ownBytes:])
}

// String names the workload, and so what counters may be compared with.
func (w *workload) String() string {
	return fmt.Sprintf("%d records in %d partitions, seed %d, %08x", w.records, partitions, seed, w.sum)
}
