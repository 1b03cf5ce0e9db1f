package replica_test

import (
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/wal"
)

type memoryDisk struct{ log *replica.MemoryLog }

func (d *memoryDisk) Open() replica.Log {
	d.log = d.log.Reopen()
	return d.log
}

func (d *memoryDisk) Save(records []wal.Record) { d.log.Save(records) }

func (d *memoryDisk) Cut(first ids.LogIndex) {
	prev, err := d.log.Term(first - 1)
	if err != nil {
		panic(err)
	}
	d.log.Save([]wal.Record{{Kind: wal.KindTruncateBefore, Index: uint64(first), Term: uint64(prev)}})
	d.log.Cut(first)
}

func TestMemoryLog(t *testing.T) {
	replicatest.RunLog(t, func(*testing.T) replicatest.Disk { return &memoryDisk{replica.NewMemoryLog()} })
}
