package bench

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"dyno/bench/record"
	"dyno/wal/vfs"
)

const powerTestRate = 1000

// powerTestSpec is a load of some two seconds, cut after one.
func powerTestSpec(acks string) loadSpec {
	return loadSpec{Partitions: 3, RF: clusterNodes, Acks: acks, SizeBytes: 256, Rate: powerTestRate, Producers: 1, Spread: 1, Window: 2 * time.Second, Seed: 5}
}

func TestPowerCutOfANodeInAChild(t *testing.T) {
	if testing.Short() {
		t.Skip("runs three nodes for some seconds")
	}
	t.Setenv(fakeEnv, fakeGood)
	opt, _, _ := fakeLab(t, fakeGood)
	b := &bed{lab: &lab{progress: newReporter(io.Discard, false, 1), child: opt.Child}, seed: 3, rep: &record.Repetition{Status: record.OK}}
	if err := b.power(t.Context(), powerTestSpec("all"), clusterNodes); err != nil {
		t.Fatal(err)
	}
	if v := b.rep.Values; b.rep.Status != record.OK || v["lost"] != 0 || v["acked"] < powerTestRate {
		t.Errorf("%+v", b.rep)
	}
}

// The cut stops every disk before any node is told, and the nodes go on with what
// the disks kept.
func TestPowerCutStopsEveryDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs three nodes for a second")
	}
	port, err := freePorts(clusterNodes)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newPowerNodes(&powerSpec{powerTestSpec("all"), clusterNodes, port})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(c.disks)
	if err := c.cut(1); err != nil {
		t.Fatal(err)
	}
	for i, disk := range before {
		if _, err := disk.Create("d/new"); !errors.Is(err, vfs.ErrPowerCut) {
			t.Errorf("disk %d still takes what is written: %v", i+1, err)
		}
		if c.disks[i] == disk || c.cfg[i].FS != vfs.FS(c.disks[i]) || c.nodes[i] == nil {
			t.Errorf("node %d runs on the disk that it had", i+1)
		}
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}
