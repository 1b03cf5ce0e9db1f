package kafka

import (
	"time"

	"dyno/engine/partition"
)

// adapt makes d's batch what the topic's configs ask for: message.timestamp.
// type=LogAppendTime stamps the time of now. It costs a second pass over the
// batch.
func (d *produced) adapt(set *partition.Settings) (code, error) {
	if set.AppendTime {
		d.AppendTimeMS = time.Now().UnixMilli()
		d.Batch = partition.SetAppendTime(d.Data, d.AppendTimeMS)
	}
	return codeNone, nil
}
