package gossip

import (
	"errors"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist asks and tells. Its methods run on memberlist's
// goroutines, most of them under its lock, so they call nothing of it.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate      = delegate{}
	_ memberlist.AliveDelegate = delegate{}
	_ memberlist.MergeDelegate = delegate{}
	_ memberlist.EventDelegate = delegate{}
	_ memberlist.PingDelegate  = delegate{}
)

// NodeMeta implements memberlist.Delegate. check has seen to it that it fits.
func (d delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.self.appendMeta(nil)
}

// NotifyAlive implements memberlist.AliveDelegate: it refuses who is not of this
// cluster, and more members than the limit.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	err := d.check(n)
	if err == nil {
		err = d.admit(n.Name)
	}
	d.g.refused("a member is refused", err, "member", n.Name)
	return err
}

// NotifyMerge implements memberlist.MergeDelegate: who brings a member of another
// cluster belongs to neither.
func (d delegate) NotifyMerge(list []*memberlist.Node) error {
	for _, n := range list {
		if err := d.check(n); errors.Is(err, ErrForeignCluster) {
			d.g.refused("the members of another node are refused", err, "member", n.Name)
			return err
		}
	}
	return nil
}

func (d delegate) check(n *memberlist.Node) error {
	i, err := decode(n.Name, n.Meta)
	if err == nil && i.Cluster != d.g.cfg.Self.Cluster {
		err = ErrForeignCluster
	}
	return err
}

func (d delegate) admit(name string) error {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	if _, ok := d.g.admitted[name]; !ok && len(d.g.admitted) >= d.g.cfg.MembersMax {
		return ErrLimit
	}
	d.g.admitted[name] = d.g.looks
	return nil
}

// refused counts and logs what was not taken; err may be nil.
func (g *Gossip) refused(what string, err error, args ...any) {
	if err == nil {
		return
	}
	g.count.refuse(err)
	g.logs.warn(what, err, args...)
}

// NotifyJoin, NotifyLeave and NotifyUpdate implement memberlist.EventDelegate.
func (d delegate) NotifyJoin(*memberlist.Node)   { d.g.kick() }
func (d delegate) NotifyLeave(*memberlist.Node)  { d.g.kick() }
func (d delegate) NotifyUpdate(*memberlist.Node) { d.g.kick() }

// kick makes run look.
func (g *Gossip) kick() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// NotifyPingComplete implements memberlist.PingDelegate: the probe under way ended.
func (d delegate) NotifyPingComplete(*memberlist.Node, time.Duration, []byte) {
	d.g.wire.probeUntil.Store(0)
}

// AckPayload implements memberlist.PingDelegate, the others memberlist.Delegate:
// nothing of ours goes that way.
func (d delegate) AckPayload() []byte              { return nil }
func (d delegate) NotifyMsg([]byte)                {}
func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d delegate) LocalState(bool) []byte          { return nil }
func (d delegate) MergeRemoteState([]byte, bool)   {}
