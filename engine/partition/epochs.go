package partition

import (
	"slices"

	"dyno/engine/ids"
)

// epochStart says at which offset a leader epoch begins.
type epochStart struct {
	epoch ids.LeaderEpoch
	start ids.Offset
}

// epochs is the leader-epoch table, by rising epoch and rising start; an epoch
// without records is dropped by the next one. Source: KIP-101 and Kafka's
// LeaderEpochFileCache.
type epochs []epochStart

// latest is the newest epoch, -1 if none.
func (t epochs) latest() ids.LeaderEpoch {
	if len(t) == 0 {
		return -1
	}
	return t[len(t)-1].epoch
}

// assign opens epoch at start, unless it is open already.
func (t *epochs) assign(epoch ids.LeaderEpoch, start ids.Offset) {
	if epoch <= t.latest() {
		return
	}
	keep := len(*t)
	for keep > 0 && (*t)[keep-1].start >= start {
		keep--
	}
	*t = append((*t)[:keep], epochStart{epoch, start})
}

// cut drops what lies below the log start; the epoch that holds it begins there.
func (t *epochs) cut(start ids.Offset) {
	i := 0
	for i+1 < len(*t) && (*t)[i+1].start <= start {
		i++
	}
	if i > 0 {
		*t = slices.Delete(*t, 0, i)
	}
	if len(*t) > 0 {
		(*t)[0].start = max((*t)[0].start, start)
	}
}

// end answers OffsetForLeaderEpoch. Source: LeaderEpochFileCache.endOffsetFor:
// the latest epoch ends at the log end; an epoch beyond it is unknown; one
// below the table ends where the table begins.
func (t epochs) end(epoch ids.LeaderEpoch, logEnd ids.Offset) EpochEnd {
	if len(t) == 0 || epoch < 0 || epoch > t.latest() {
		return EpochEnd{Epoch: -1, End: -1}
	}
	if epoch == t.latest() {
		return EpochEnd{Epoch: epoch, End: logEnd}
	}
	i, _ := slices.BinarySearchFunc(t, epoch+1, func(e epochStart, x ids.LeaderEpoch) int { return int(e.epoch) - int(x) })
	if i == 0 {
		return EpochEnd{Epoch: epoch, End: t[0].start}
	}
	return EpochEnd{Epoch: t[i-1].epoch, End: t[i].start}
}
