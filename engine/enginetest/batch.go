package enginetest

import (
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
	"dyno/engine/partition"
)

// Positions within a v2 record batch; everything from attrsAt on is as the
// producer made it. Source: Kafka's DefaultRecordBatch.
const (
	crcAt       = 17
	attrsAt     = 21
	sequenceAt  = 53
	headerBytes = 61
	// uncountedBytes stand in front of what the length field counts.
	uncountedBytes = 12
)

// Batch says what to put into one record batch.
type Batch struct {
	Producer ids.ProducerID // ids.NoProducer: not idempotent
	Epoch    int16
	Sequence int32
	TimeMS   int64
	Values   []string // one record each
}

// Encode makes the batch as a producer sends it.
func (b *Batch) Encode() []byte {
	var records []byte
	for i, v := range b.Values {
		r := kmsg.Record{OffsetDelta: int32(i), Value: []byte(v)}
		body := r.AppendTo(nil)[1:] // without the length, which is 0 and one byte
		r.Length = int32(len(body))
		records = r.AppendTo(records)
	}
	rb := kmsg.RecordBatch{
		Length: int32(headerBytes - uncountedBytes + len(records)), PartitionLeaderEpoch: -1, Magic: 2,
		LastOffsetDelta: int32(len(b.Values) - 1), FirstTimestamp: b.TimeMS, MaxTimestamp: b.TimeMS,
		ProducerID: int64(b.Producer), ProducerEpoch: b.Epoch, FirstSequence: b.Sequence,
		NumRecords: int32(len(b.Values)), Records: records,
	}
	out := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(out[crcAt:], crc32.Checksum(out[attrsAt:], castagnoli))
	return out
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header reads what the checks need of a batch: the base offset and leader epoch that the
// leader wrote, and what the producer wrote.
func header(data []byte) (base ids.Offset, in partition.BatchInfo) {
	base = ids.Offset(binary.BigEndian.Uint64(data))
	in.LastOffsetDelta = int32(binary.BigEndian.Uint32(data[attrsAt+2:]))
	in.ProducerID = ids.ProducerID(binary.BigEndian.Uint64(data[sequenceAt-10:]))
	in.ProducerEpoch = int16(binary.BigEndian.Uint16(data[sequenceAt-2:]))
	in.BaseSequence = int32(binary.BigEndian.Uint32(data[sequenceAt:]))
	in.Records = int32(binary.BigEndian.Uint32(data[sequenceAt+4:]))
	return base, in
}

// text is the values of a batch's records, cut short enough for a line.
func text(data []byte) string {
	if len(data) <= headerBytes {
		return ""
	}
	_, in := header(data)
	values := make([]string, 0, in.Records)
	rest := data[headerBytes:]
	for range in.Records {
		n, k := binary.Varint(rest)
		var r kmsg.Record
		if n < 0 || int(n)+k > len(rest) || r.ReadFrom(rest[:int(n)+k]) != nil {
			break
		}
		rest = rest[int(n)+k:]
		values = append(values, string(r.Value[:min(len(r.Value), textMax)]))
	}
	return strings.Join(values, ",")
}

const textMax = 16 // of each value
