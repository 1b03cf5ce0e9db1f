package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/multiraft"
)

// Which clock counts for what:
//
//	elections, heartbeats, leases of CheckQuorum,     ticks: the monotonic clock;
//	fences, in-sync replicas                          wall clocks do not matter
//	leader leases, what catching up may send          the boot-time clock (leases.go)
//	retention by time, and producers that are         the partition's leader decides, by
//	forgotten for want of records                     the time that a majority of the nodes'
//	                                                  clocks says has passed; without one it waits
//	LogAppendTime                                     the leader's clock, or the nodes' middle one
//	                                                  where that is off it by more than 10 s
//	CreateTime                                        the producer's, unread
//
// So one node's clock, wherever it jumps, deletes nothing too early and forgets no
// producer, as long as the others are right and heard: with two nodes of three
// neither can tell which clock is wrong, and the earlier one counts. A record whose
// producer stamped it with a time long ago is as old as that says.
//
// clockWatch tells of a wall clock that jumps against the monotonic one, and of
// one that is off the others'.
type clockWatch struct {
	node  *Node
	jumps atomic.Int64
	stop  chan struct{} // closed by Close
	done  chan struct{} // closed by run
	once  sync.Once

	// owner: run
	wall time.Time // without a monotonic part
	mono time.Time
	off  bool // the clock was off the others' when it was last looked at
}

const (
	clockEvery   = time.Second
	clockJumpMin = time.Second // what is less is discipline, or a busy machine
)

func startClockWatch(n *Node) *clockWatch {
	w := &clockWatch{node: n, stop: make(chan struct{}), done: make(chan struct{}), wall: n.cfg.Now().Round(0), mono: time.Now()}
	go w.run()
	return w
}

// Close ends the goroutine; idempotent.
func (w *clockWatch) Close() error {
	w.once.Do(func() { close(w.stop) })
	<-w.done
	return nil
}

func (w *clockWatch) run() {
	defer close(w.done)
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look()
		case <-w.stop:
			return
		}
	}
}

func (w *clockWatch) look() {
	log := w.node.cfg.Log.With("node", w.node.identity.NodeID)
	wall, mono := w.node.cfg.Now().Round(0), time.Now()
	if jump := wall.Sub(w.wall) - mono.Sub(w.mono); jump.Abs() >= clockJumpMin {
		w.jumps.Add(1)
		log.Warn("the wall clock jumped", "by", jump.Round(time.Millisecond))
	}
	w.wall, w.mono = wall, mono
	c := w.node.raft.Clock()
	switch off := c.Off.Abs() > multiraft.ClockSlack; {
	case off && !w.off:
		log.Warn("the wall clock is off those of the other nodes: theirs counts", "by", c.Off)
		w.off = true
	case !off && w.off:
		log.Info("the wall clock agrees with those of the other nodes")
		w.off = false
	}
}
