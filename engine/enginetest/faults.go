package enginetest

import (
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// calm is a good network.
var calm = transport.Link{DelayMin: 500 * time.Microsecond, DelayMax: 1500 * time.Microsecond}

// weather is what a network can be like.
var weather = map[string]transport.Link{
	"loss":      {DelayMin: 500 * time.Microsecond, DelayMax: 2 * time.Millisecond, Loss: 0.15},
	"delay":     {DelayMin: 5 * time.Millisecond, DelayMax: 60 * time.Millisecond},
	"duplicate": {DelayMin: 500 * time.Microsecond, DelayMax: 4 * time.Millisecond, Duplicate: 0.25},
	"reorder":   {DelayMin: 500 * time.Microsecond, DelayMax: 12 * time.Millisecond, Reorder: 0.3},
	"storm":     {DelayMin: 500 * time.Microsecond, DelayMax: 20 * time.Millisecond, Loss: 0.05, Duplicate: 0.1, Reorder: 0.2},
}

// misfortunes are the kinds of fault with their weights. Each returns false if
// it cannot happen now.
var misfortunes = []struct {
	name   string
	weight int
	happen func(s *Sim) bool
}{
	{"crash", 6, (*Sim).crash},
	{"power cut", 4, (*Sim).powerCut},
	{"power cut in a write", 6, (*Sim).tear},
	{"power cut of all", 3, (*Sim).powerCutAll},
	{"clean restart", 2, (*Sim).cleanRestart},
	{"way cut", 6, (*Sim).cutOne},
	{"node cut off", 6, (*Sim).cutOff},
	{"loss", 3, func(s *Sim) bool { return s.change("loss") }},
	{"delay", 3, func(s *Sim) bool { return s.change("delay") }},
	{"duplicate", 3, func(s *Sim) bool { return s.change("duplicate") }},
	{"reorder", 3, func(s *Sim) bool { return s.change("reorder") }},
	{"storm", 3, func(s *Sim) bool { return s.change("storm") }},
	{"slow disk", 6, (*Sim).slowDisk},
	{"full disk", 3, (*Sim).fullDisk},
	{"transfer", 6, (*Sim).transfer},
	{"election", 3, (*Sim).election},
	{"clock jump", 4, (*Sim).clockJump},
	{"false alarm", 4, (*Sim).falseAlarm},
	{wiped, 6, (*Sim).wipe},
	{lull, 4, (*Sim).rest},
}

// lull is no fault: clients do nothing for a while, and groups may go quiet.
const lull = "lull"

// FaultKinds names every kind of fault.
func FaultKinds() (names []string) {
	for _, m := range misfortunes {
		if m.name != lull {
			names = append(names, m.name)
		}
	}
	return names
}

// fault lets one thing go wrong.
func (s *Sim) fault() {
	total := 0
	for _, m := range misfortunes {
		total += m.weight
	}
	r := s.rng.IntN(total)
	for _, m := range misfortunes {
		if r -= m.weight; r >= 0 {
			continue
		}
		s.c.note("fault: %s", m.name)
		if m.happen(s) {
			s.res.Faults[m.name]++
		}
		return
	}
}

// victim is a node, and half of the time one that leads.
func (s *Sim) victim() *Node {
	if s.rng.IntN(2) == 0 {
		if n := s.c.Leader(s.rng.IntN(s.cfg.Partitions)); n != nil {
			return n
		}
	}
	return s.c.nodes[s.rng.IntN(s.cfg.Nodes)]
}

// while is how long a fault lasts, in steps: a moment, or too short for an
// election, or long enough.
func (s *Sim) while() int {
	switch s.rng.IntN(6) {
	case 0:
		return 1 + s.rng.IntN(10)
	case 1, 2:
		return 1 + s.rng.IntN(100)
	case 3:
		if s.cfg.Files { // what it misses is to be gone when it comes back
			return 1000 + s.rng.IntN(3000)
		}
	}
	return 100 + s.rng.IntN(900)
}

func (s *Sim) startLater(n *Node) {
	s.after(s.while(), func() {
		if !n.up {
			n.Start()
		}
	})
}

func (s *Sim) crash() bool {
	n := s.victim()
	if !n.up {
		return false
	}
	n.Crash()
	for _, o := range s.c.nodes { // its connections are closed, which is heard or not
		if s.rng.IntN(2) == 0 {
			o.Suspect(n.id)
		}
	}
	s.startLater(n)
	return true
}

func (s *Sim) powerCut() bool {
	n := s.victim()
	if !n.up {
		return false
	}
	n.PowerCut(s.rng.Uint64())
	s.startLater(n)
	return true
}

func (s *Sim) tear() bool {
	n := s.victim()
	if !n.up || n.Waiting() == 0 {
		return false
	}
	n.Tear(s.rng.Uint64())
	s.startLater(n)
	return true
}

func (s *Sim) powerCutAll() bool {
	for _, n := range s.c.nodes {
		if !n.up {
			continue
		}
		if seed := s.rng.Uint64(); s.rng.IntN(2) == 0 || !n.Tear(seed) {
			n.PowerCut(seed)
		}
		s.startLater(n)
	}
	return true
}

func (s *Sim) cleanRestart() bool {
	n := s.victim()
	if !n.up {
		return false
	}
	if err := n.Stop(); err != nil {
		s.c.Violation("node %d does not stop: %v", n.id, err)
	}
	s.startLater(n)
	return true
}

func (s *Sim) cutOne() bool {
	a, b := s.victim().id, ids.NodeID(1+s.rng.IntN(s.cfg.Nodes))
	if a == b {
		return false
	}
	if s.rng.IntN(2) == 0 {
		a, b = b, a
	}
	s.c.Cut(a, b)
	s.after(s.while(), func() { s.c.Join(a, b) })
	return true
}

func (s *Sim) cutOff() bool {
	if s.cfg.Nodes == 1 {
		return false
	}
	a := s.victim().id
	for _, n := range s.c.nodes {
		if n.id != a {
			s.c.Cut(a, n.id)
			s.c.Cut(n.id, a)
		}
	}
	s.after(s.while(), func() {
		for _, n := range s.c.nodes {
			s.c.Join(a, n.id)
			s.c.Join(n.id, a)
		}
	})
	return true
}

func (s *Sim) change(kind string) bool {
	if s.cfg.Nodes == 1 {
		return false
	}
	s.c.SetLinks(weather[kind])
	s.after(s.while(), func() { s.c.SetLinks(calm) })
	return true
}

func (s *Sim) slowDisk() bool {
	n := s.victim()
	if !n.up {
		return false
	}
	life := n.life
	n.Hold()
	s.after(s.while(), func() {
		if n.up && n.life == life {
			n.slow = false
		}
	})
	return true
}

// fullDisk leaves a node with the segments it has: it takes no new batches and
// no entries of others when these are full, but its votes find room.
func (s *Sim) fullDisk() bool {
	n := s.victim()
	if !n.up {
		return false
	}
	n.FillDisk()
	s.after(s.while(), n.FreeDisk)
	return true
}

func (s *Sim) transfer() bool {
	p := s.rng.IntN(s.cfg.Partitions)
	from, to := s.c.Leader(p), s.anyReplica(p)
	if from == nil || from == to {
		return false
	}
	if from.Transfer(p, to.id) != nil {
		return false
	}
	s.deafen(from, false)
	return true
}

// deafen keeps a node that may read by its lease from hearing who leads now, and if it
// is to be mute from saying that it does: it goes on for a while, and what it answers
// alone must be right.
func (s *Sim) deafen(n *Node, mute bool) {
	if !s.cfg.Leases || s.rng.IntN(4) == 0 {
		return
	}
	each := func(f func(from, to ids.NodeID)) {
		for _, o := range s.c.nodes {
			if o == n {
				continue
			}
			if f(o.id, n.id); mute {
				f(n.id, o.id)
			}
		}
	}
	each(s.c.Cut)
	s.after(100+s.while(), func() { each(s.c.Join) })
}

// election lets one node campaign, or two at once.
func (s *Sim) election() bool {
	p, began := s.rng.IntN(s.cfg.Partitions), false
	for range 1 + s.rng.IntN(2) {
		if s.anyReplica(p).Campaign(p) {
			began = true
		}
	}
	return began
}

// clockJump lets one node's clock run ahead: many ticks, and nothing else.
func (s *Sim) clockJump() bool {
	n := s.victim()
	if !n.up {
		return false
	}
	for range 5 + s.rng.IntN(30) {
		n.Tick()
	}
	return true
}

// falseAlarm tells a node, or all of them, that another one is gone.
func (s *Sim) falseAlarm() bool {
	about, all, told := s.victim(), s.rng.IntN(2) == 0, false
	for _, n := range s.c.nodes {
		if n.up && n != about && (all || s.rng.IntN(2) == 0) {
			n.Suspect(about.id)
			told = true
		}
	}
	if told {
		s.deafen(about, true)
	}
	return told
}

func (s *Sim) rest() bool {
	s.idle = s.step + 2*s.while()
	return false
}
