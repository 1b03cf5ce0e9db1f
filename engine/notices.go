package engine

import (
	"context"
	"log/slog"

	"dyno/engine/events"
	"dyno/wal"
)

// logEvents is where rare events end: the log, and whoever the configuration
// names. It runs on the goroutine of Node.notices.
type logEvents struct{ node *Node }

// Event implements events.Listener.
func (l logEvents) Event(e events.Event) {
	log := l.node.cfg.Log.With("node", l.node.identity.NodeID)
	switch e := e.(type) {
	case events.ReplicaDamaged:
		log.Error("replica damaged", "group", e.Group, "replica", e.Replica, "err", e.Err)
	case events.BecameLeader:
		l.node.isr.led()
		log.Debug("leads", "group", e.Group, "term", e.Term)
	case events.LogFailed:
		log.Error("log failed", "err", e.Err)
	case events.DiskFull:
		l.node.isr.led() // there are leaderships to hand over
		select {
		case l.node.diskFull <- struct{}{}:
		default:
		}
		log.Error("disk full: produce is refused, reads go on; free some space", "err", e.Err)
	case events.DiskRoom:
		log.Info("disk has room again: produce is accepted")
	case events.NodeSilent:
		log.Warn("a node is not heard", "peer", e.Peer, "for", e.For)
	case events.NodeHeard:
		log.Info("a node is heard again", "peer", e.Peer)
	case events.SnapshotSent:
		log.Info("a replica lacks what is deleted here, and is sent a snapshot", "group", e.Group, "peer", e.Peer, "index", e.Index, "bytes", e.Bytes)
	case events.SyncStalled:
		log.Warn("a sync of the log stalls", "for", e.For)
	case events.MemberChanged:
		log.Info("gossip believes a node to be "+e.State, "peer", e.Node, "at", e.Peer)
	case walEvent:
		log.Log(context.Background(), e.level(), e.Text, "event", e.Kind, "err", e.Err)
	default:
		log.Debug(e.Name(), slog.Any("event", e))
	}
	if l.node.cfg.Listener != nil {
		l.node.cfg.Listener.Event(e)
	}
}

// walEvent is a notice of the log that has no event of its own.
type walEvent struct{ wal.Notice }

// Name implements events.Event.
func (e walEvent) Name() string { return "wal_" + e.Kind }

func (e walEvent) level() slog.Level {
	if e.Err != nil {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// walNotice turns what the log tells into events; it never blocks.
func (n *Node) walNotice(w wal.Notice) {
	switch w.Kind {
	case "disk_full":
		n.notices.Event(events.DiskFull{Err: w.Err})
	case "disk_room":
		n.notices.Event(events.DiskRoom{})
	case "failed":
		n.notices.Event(events.LogFailed{Err: w.Err})
	default:
		n.notices.Event(walEvent{w})
	}
}
