package gossip

import (
	"context"
	"runtime/pprof"
	"time"
)

// joinMin is the first pause between two rounds of looking for seeds; it doubles up
// to ten probes.
const joinMin = 250 * time.Millisecond

// join dials all seeds once, so that each hears of this life at first hand, then
// those that are not among the living, again and again: memberlist itself never
// dials who was dead for long, so without this the halves of a split would not meet
// again.
func (g *Gossip) join() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("dyno", "gossip joiner")))
	timer := time.NewTimer(0)
	defer timer.Stop()
	first := true
	for pause := joinMin; ; pause = min(2*pause, 10*g.cfg.ProbeInterval) {
		select {
		case <-timer.C:
			g.dialSeeds(first)
			first = false
			timer.Reset(pause)
		case <-g.stop:
			return
		}
	}
}

// dialSeeds tries each seed once, or each that is not among the living. A seed that
// stays away is no news: who knows it tells its state.
func (g *Gossip) dialSeeds(all bool) {
	for _, s := range g.cfg.Seeds() {
		_, here := g.Lookup(s.Node)
		if s.Node == g.cfg.Self.Node || here && !all || checkAddr(s.Peer) != nil {
			continue
		}
		select {
		case <-g.stop:
			return
		default:
		}
		// The slash divides name and address, and the address is a placeholder.
		if _, err := g.list.Join([]string{seedName(s.Node, s.Peer) + "/" + nowhere}); err != nil {
			g.cfg.Log.Debug("gossip: a seed is not reached", "node", g.cfg.Self.Node, "seed", s.Node, "at", s.Peer, "err", err)
		}
	}
}
