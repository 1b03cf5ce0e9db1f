package multiraft

import (
	"errors"

	"dyno/engine/events"
	"dyno/engine/replica"
)

var errNoSnapshots = errors.New("the group has no place for a snapshot")

// install makes a snapshot of g durable on a goroutine of its own, because it
// writes files, and hands the outcome to g's worker.
func (m *Manager) install(g *Group, s replica.Snapshot) {
	m.installs.Go(func() {
		err := errNoSnapshots
		if g.spec.Snapshots != nil {
			err = g.spec.Snapshots.Install(s)
		}
		g.w.box.call(func() {
			g.rep.Installed(err, &g.w.out)
			g.w.collect(g)
			g.w.touch(g)
			if g.rep.Err() == nil {
				m.cfg.Listener.Event(events.SnapshotApplied{Group: g.spec.Group, Index: s.Index, Bytes: int64(len(s.State))})
			}
		})
	})
}
