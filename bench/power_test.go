package bench

import (
	"errors"
	"io"
	"testing"
	"time"

	"dyno/bench/record"
	"dyno/loadgen"
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

// lyingDisk says that it has synced and has not, once it was told to.
type lyingDisk struct {
	vfs.FS
	lies *bool
}

type lyingFile struct {
	vfs.File
	lies *bool
}

func (d lyingDisk) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	return lyingFile{f, d.lies}, err
}

func (d lyingDisk) Open(name string) (vfs.File, error) {
	f, err := d.FS.Open(name)
	return lyingFile{f, d.lies}, err
}

func (f lyingFile) Datasync() error {
	if *f.lies {
		return nil
	}
	return f.File.Datasync()
}

// Where no disk keeps what it said it had synced, the cut is found out: by the count
// of lost records, or by nodes that refuse to start without their log.
func TestPowerCutFindsDisksThatLie(t *testing.T) {
	if testing.Short() {
		t.Skip("runs three nodes for some seconds")
	}
	port, err := freePorts(clusterNodes)
	if err != nil {
		t.Fatal(err)
	}
	spec := powerSpec{powerTestSpec("all"), clusterNodes, port}
	c, err := newPowerNodes(&spec)
	if err != nil {
		t.Fatal(err)
	}
	lies := true
	for i := range c.cfg {
		c.cfg[i].FS = lyingDisk{c.disks[i], &lies}
	}
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	res, err := c.load(t.Context(), &spec)
	if closed := c.close(); closed != nil && err == nil {
		t.Error(closed)
	}
	if err == nil && res.Violation() == "" {
		t.Errorf("three disks that kept nothing lost nothing: %+v", res.Report)
	}
	t.Log(err)
	if errors.Is(err, loadgen.ErrUsage) {
		t.Fatal(err)
	}
}
