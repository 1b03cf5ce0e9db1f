package multiraft

import (
	"fmt"

	"dyno/engine/ids"
	"dyno/wal"
)

// Realign gives the records that make a group's log go on behind what a snapshot
// left beside it at entry at of term: its owner stopped after the state was durable
// and before the log was cut. None where the log fits. A log that is long enough may
// hold another leader's entries there: the term tells. Before Manager.Open; the
// caller appends them in one piece and waits.
func Realign(log Log, g ids.GroupID, at ids.LogIndex, term ids.Term) ([]wal.Record, error) {
	if at == 0 {
		return nil, nil
	}
	records := []wal.Record{{Stream: uint64(g), Kind: wal.KindTruncateBefore, Index: uint64(at) + 1, Term: uint64(term)}}
	if info, ok := log.Info(uint64(g)); ok && info.Last >= uint64(at) {
		if info.First > uint64(at)+1 {
			return nil, nil // cut behind it long ago
		}
		have, err := log.Term(uint64(g), uint64(at))
		if err != nil {
			return nil, fmt.Errorf("term of entry %d of group %d: %w", at, g, err)
		}
		if ids.Term(have) == term {
			return nil, nil
		}
		records = append([]wal.Record{{Stream: uint64(g), Kind: wal.KindTruncateAfter, Index: uint64(at)}}, records...)
	}
	return records, nil
}
