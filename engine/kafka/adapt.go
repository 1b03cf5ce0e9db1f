package kafka

import "dyno/engine/partition"

// adapt makes d's batch what the topic's configs ask for. compression.type
// other than "producer" recompresses a batch of another codec: a new slice.
// message.timestamp.type=LogAppendTime stamps the time of now: a second pass
// over the bytes. A batch that has become too large is refused, as Kafka's
// UnifiedLog does after recompression. As many recompress at a time as there
// are processors: each may hold 64 MiB of records, which is in no budget.
func (d *produced) adapt(set *partition.Settings) (code, error) {
	if codec, ok := partition.CodecOf(set.CompressionType); ok {
		b, in, err := d.req.c.recompress(d, codec)
		if err != nil {
			return codeOf(err), err
		}
		if len(b) > set.MaxMessageBytes {
			return codeMessageTooLarge, partition.ErrBatchTooLarge
		}
		d.Data, d.Batch = b, in
	}
	if set.AppendTime {
		d.AppendTimeMS = d.req.c.srv.cfg.NowMS()
		d.Batch = partition.SetAppendTime(d.Data, d.AppendTimeMS)
	}
	return codeNone, nil
}

// recompress waits for its turn and recompresses d's batch, if it must be.
func (c *conn) recompress(d *produced, codec partition.Codec) ([]byte, partition.BatchInfo, error) {
	if partition.Codec(d.Batch.Attributes&attrCodecMask) == codec {
		return d.Data, d.Batch, nil
	}
	turn := c.srv.recompressing
	select {
	case turn <- struct{}{}:
	default:
		c.srv.count.waitedRecompress.Add(1)
		select {
		case turn <- struct{}{}:
		case <-c.ctx.Done():
			return nil, partition.BatchInfo{}, c.ctx.Err()
		}
	}
	defer func() { <-turn }()
	return partition.Recompress(d.Data, codec)
}
