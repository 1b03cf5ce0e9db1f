package kafka

import (
	"time"

	"dyno/engine/partition"
)

// adapt makes d's batch what the topic's configs ask for. compression.type
// other than "producer" recompresses a batch of another codec: a new slice.
// message.timestamp.type=LogAppendTime stamps the time of now: a second pass
// over the bytes. A batch that has become too large is refused, as Kafka's
// UnifiedLog does after recompression.
func (d *produced) adapt(set *partition.Settings) (code, error) {
	if codec, ok := partition.CodecOf(set.CompressionType); ok {
		b, in, err := partition.Recompress(d.Data, codec)
		if err != nil {
			return codeOf(err), err
		}
		if len(b) > set.MaxMessageBytes {
			return codeMessageTooLarge, partition.ErrBatchTooLarge
		}
		d.Data, d.Batch = b, in
	}
	if set.AppendTime {
		d.AppendTimeMS = time.Now().UnixMilli()
		d.Batch = partition.SetAppendTime(d.Data, d.AppendTimeMS)
	}
	return codeNone, nil
}
