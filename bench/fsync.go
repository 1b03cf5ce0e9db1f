package bench

import (
	"fmt"
	"path/filepath"
	"strconv"

	"dyno/bench/cell"
)

const (
	fsyncQuestion = "Which disk discipline pays for a log that syncs every write: growing, fallocated, zero-filled or recycled space, one log " +
		"or a file per partition; and does dyno's log keep up with the raw loop and stay ahead of etcd's and HashiCorp's?"
	fsyncExpectation = "Written space beats fallocated space by 1.5x at 4 KiB and 2x from 64 KiB, because a sync of it needs no journal commit; " +
		"recycled equals zero-filled. O_DIRECT|O_DSYNC is close to written space. Three processes share the disk's flushes and gain little. " +
		"A file per partition falls with the number of partitions, one log does not. dyno's group commit reaches 0.9x of the raw loop on " +
		"written space, and is ahead of both peers also when they get the same drained batches."

	fsyncReps = 10 // of cells that carry a target
	kib       = 1 << 10
	mib       = 1 << 20
)

// sizeName writes 4096 as 4KiB, for names of arms.
func sizeName(n int) string {
	if n >= mib {
		return strconv.Itoa(n/mib) + "MiB"
	}
	if n < kib {
		return strconv.Itoa(n) + "B"
	}
	return strconv.Itoa(n/kib) + "KiB"
}

// fsyncPlan builds the experiment's cells.
type fsyncPlan struct {
	cfg ExperimentConfig
	e   Experiment
}

func fsyncExperiment(cfg ExperimentConfig) Experiment {
	p := &fsyncPlan{cfg: cfg, e: Experiment{
		Name: "fsync", Question: fsyncQuestion, Expectation: fsyncExpectation, Units: cellUnits, Columns: cellColumns,
		// Three processes of the largest cell, the old space and the new.
		DiskNeed: 8 << 30,
	}}
	p.e.Config = map[string]any{"quick": cfg.Quick, "seed": cfg.Seed, "fsync": true,
		"appenders": peerAppenders, "peer_record_bytes": kib, "repetitions_headline": p.cfg.headline(fsyncReps), "repetitions": p.cfg.plain()}
	p.space()
	p.commit()
	p.partitions()
	p.peers()
	return p.e
}

// total is how many bytes a cell writes at one size: a quarter of a second or
// more at 1.5 GB/s, and so little that the whole experiment, which prepares and
// reads back every byte besides, ends within about 20 minutes.
func (p *fsyncPlan) total(size int) int64 {
	t := int64(384 * mib)
	switch {
	case size <= 4*kib:
		t = 48 * mib
	case size <= 16*kib:
		t = 128 * mib
	case size <= 64*kib:
		t = 256 * mib
	case size <= 256*kib:
		t = 256 * mib
	}
	if p.cfg.Quick {
		t /= 32
	}
	return max(t, int64(8*size))
}

func (p *fsyncPlan) raw(arm, block, mode string, size, processes, reps int) {
	total := p.total(size) / int64(processes)
	p.e.Cells = append(p.e.Cells, Cell{
		Arm: arm, Block: block, Repetitions: reps,
		Params: map[string]string{paramBlock: block, "space": mode, "write": sizeName(size), "processes": strconv.Itoa(processes)},
		Jobs: func(dir string, seed uint64) []Task {
			var tasks []Task
			for i := range processes {
				own := filepath.Join(dir, strconv.Itoa(i))
				tasks = append(tasks, Task{Work: workRaw, Spec: cell.RawSpec{
					Dir: own, Mode: mode, WriteBytes: size, TotalBytes: max(total, int64(size)), Seed: seed<<8 + uint64(i)}})
			}
			return tasks
		},
	})
}

func (p *fsyncPlan) append(arm, block string, spec cell.AppendSpec, reps int) {
	peers := spec.System == sysEtcd || spec.System == sysRaftWAL
	p.e.Cells = append(p.e.Cells, Cell{
		Arm: arm, Block: block, Repetitions: reps,
		Params: map[string]string{paramBlock: block, "system": spec.System, "mode": spec.Mode, "record": sizeName(spec.RecordBytes),
			"appenders": strconv.Itoa(spec.Appenders), "streams": strconv.Itoa(spec.Streams),
			"records": strconv.FormatInt(spec.Records, 10)},
		Jobs: func(dir string, seed uint64) []Task {
			spec.Dir, spec.Seed = filepath.Join(dir, "0"), seed
			return []Task{{Peers: peers, Work: workAppend, Spec: spec}}
		},
	})
}

// space: the state of the space × the size of a write × the processes at work.
func (p *fsyncPlan) space() {
	for _, size := range []int{4 * kib, 32 * kib, 64 * kib, 256 * kib, mib} {
		for _, processes := range []int{1, 3} {
			block := fmt.Sprintf("space-%s-%dp", sizeName(size), processes)
			for _, mode := range []string{cell.Grow, cell.Fallocate, cell.Zero, cell.Recycled, cell.Direct} {
				p.raw(fmt.Sprintf("space/%s-%s-%dp", mode, sizeName(size), processes), block, mode, size, processes, p.cfg.plain())
			}
		}
	}
}

// recordsPerSyncMax is how far a repetition of commit/wal may leave one record
// per sync and still be compared with a raw loop that syncs each write.
const recordsPerSyncMax = 1.02

// commit: dyno's log against the raw loop, with one record of that size in the
// write, so that every write and sync carries the same bytes in both. One
// appender waits for each answer: the way to the flusher and back counts against
// the log. A repetition in which syncs were shared is invalid. wal-2 has two
// appenders, which share most syncs; it is not compared. raw-direct goes
// past the page cache, as dyno's log does; it is there for context.
func (p *fsyncPlan) commit() {
	for _, size := range []int{4 * kib, 16 * kib, 64 * kib, 256 * kib, mib} {
		name := sizeName(size)
		block := "commit-" + name
		wal, written, reserved := "commit/wal-"+name, "commit/raw-written-"+name, "commit/raw-fallocated-"+name
		p.raw(written, block, cell.Zero, size, 1, p.cfg.headline(fsyncReps))
		p.raw(reserved, block, cell.Fallocate, size, 1, p.cfg.headline(fsyncReps))
		p.raw("commit/raw-direct-"+name, block, cell.DirectSync, size, 1, p.cfg.headline(fsyncReps))
		spec := cell.AppendSpec{System: sysDyno, Mode: cell.Usual, Streams: 1, RecordBytes: size, Records: p.total(size) / int64(size)}
		spec.Appenders = 1
		p.append(wal, block, spec, p.cfg.headline(fsyncReps))
		p.e.Cells[len(p.e.Cells)-1].RecordsPerSyncMax = recordsPerSyncMax
		spec.Appenders = 2
		p.append("commit/wal-2-"+name, block, spec, p.cfg.headline(fsyncReps))
		p.goal("dyno's log against the raw loop on written space, "+name, wal, written, 0.9)
		switch {
		case size == 4*kib:
			p.goal("dyno's log against the raw loop on fallocated space, "+name, wal, reserved, 1.5)
		case size >= 64*kib:
			p.goal("dyno's log against the raw loop on fallocated space, "+name, wal, reserved, 2)
		}
	}
}

// peerAppenders is how many clients wait at once where logs are compared.
const peerAppenders = 64

// partitions: fixed bytes over more and more partitions.
func (p *fsyncPlan) partitions() {
	records := int64(32 * kib)
	if p.cfg.Quick {
		records = 2 * kib
	}
	for _, n := range []int{1, 16, 128, 1024} {
		for _, arm := range [][2]string{{"one-wal", sysDyno}, {"file-each", sysFiles}} {
			p.append(fmt.Sprintf("partitions/%s-%d", arm[0], n), fmt.Sprintf("partitions-%d", n), cell.AppendSpec{
				System: arm[1], Mode: cell.Usual, Appenders: peerAppenders, Streams: n, RecordBytes: kib, Records: records}, p.cfg.plain())
		}
	}
}

// peers: dyno's log as it ships against etcd's and HashiCorp's. An appender that
// has the log to itself syncs for itself alone, so Usual takes fewer records.
func (p *fsyncPlan) peers() {
	for _, mode := range []string{cell.Usual, cell.Batched} {
		for _, system := range []string{sysShipped, sysDyno, sysEtcd, sysRaftWAL} {
			records := int64(192 * kib)
			if mode == cell.Usual && (system == sysEtcd || system == sysRaftWAL) {
				records = 8 * kib
			}
			if p.cfg.Quick {
				records = 2 * kib
			}
			p.append("peers/"+mode+"-"+system, "peers-"+mode, cell.AppendSpec{
				System: system, Mode: mode, Appenders: peerAppenders, Streams: 1, RecordBytes: kib, Records: records}, p.cfg.headline(fsyncReps))
		}
		for _, peer := range []string{sysEtcd, sysRaftWAL} {
			p.goal(fmt.Sprintf("dyno's log as shipped against %s, 64 appenders of 1 KiB, %s", peer, mode),
				"peers/"+mode+"-"+sysShipped, "peers/"+mode+"-"+peer, 1)
		}
	}
}

func (p *fsyncPlan) goal(name, arm, against string, atLeast float64) {
	p.e.Targets = append(p.e.Targets, Goal{Name: name, Arm: arm, Against: against, Measure: "throughput", AtLeast: atLeast})
}
