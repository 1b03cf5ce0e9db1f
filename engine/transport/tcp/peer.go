package tcp

import (
	"sync"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// peer is another node this one has sent to.
type peer struct {
	t     *Transport
	id    ids.NodeID
	lanes [transport.Lanes]*lane

	mu  sync.Mutex
	err error // guarded by mu: of the last attempt to connect, nil if it succeeded
}

func newPeer(t *Transport, id ids.NodeID) *peer {
	p := &peer{t: t, id: id}
	for kind := range p.lanes {
		p.lanes[kind] = newLane(t, p, transport.Lane(kind))
	}
	return p
}

// reached says that l is connected: the other lanes may try at once.
func (p *peer) reached(l *lane) {
	p.mu.Lock()
	was := p.err
	p.err = nil
	p.mu.Unlock()
	if was != nil {
		p.t.cfg.Log.Info("peer is reached again", "node", p.t.cfg.Node, "peer", p.id)
	}
	for _, other := range p.lanes {
		if other != l {
			other.kick()
		}
	}
}

// failed keeps why an attempt failed, and logs it if it is news.
func (p *peer) failed(err error) {
	p.mu.Lock()
	was := p.err
	p.err = err
	p.mu.Unlock()
	switch {
	case was != nil && reasonOf(was) == reasonOf(err):
	case codeOf(err) != codeOK:
		p.t.cfg.Log.Warn("peer refuses", "node", p.t.cfg.Node, "peer", p.id, "err", err)
	default:
		p.t.cfg.Log.Info("peer is not reached", "node", p.t.cfg.Node, "peer", p.id, "err", err)
	}
}

func (p *peer) lastErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
