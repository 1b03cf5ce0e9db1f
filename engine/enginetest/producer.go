package enginetest

import (
	"errors"
	"fmt"
	"strings"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// producer is an idempotent client of one partition: it has several batches
// under way at once, and when one of them fails or is not answered, it sends all
// of them again, in order, until each is acknowledged.
type producer struct {
	s      *Sim
	id     ids.ProducerID
	part   int
	wait   replica.Wait
	epoch  int16
	next   int32   // sequence of the next record
	open   []*sent // not acknowledged, in order
	known  bool    // the log has a batch of this epoch: more than one may be under way
	all    []*sent // acknowledged, acks=all
	lost   []*sent // of earlier epochs, never acknowledged
	target *Node   // where the leader is thought to be
	again  bool    // what is open must be sent again
	// patience is how many steps it waits for an answer.
	patience int
}

// sent is one batch and the attempts to get it into the log.
type sent struct {
	data    []byte
	epoch   int16
	records int32
	number  int64
	event   int    // index into the history
	try     *Put   // under way; nil: none
	since   int    // step in which try began
	old     []*Put // given up, but they may still be answered
	acked   bool
	base    ids.Offset
}

const (
	underWayMax = 4
	// numberAt stands before a batch's number in its values.
	numberAt = "#"
)

// act does what a client would do next.
func (p *producer) act() {
	p.collect()
	switch {
	case len(p.open) > 0 && p.s.rng.IntN(200) == 0:
		p.giveUp()
		p.restart()
	case p.again:
		p.resend()
	case len(p.open) < underWayMax && (p.known || len(p.open) == 0):
		p.send(p.create())
	}
}

// drain is act without new batches; true when nothing is open.
func (p *producer) drain() bool {
	p.collect()
	if p.again {
		p.resend()
	}
	return len(p.open) == 0
}

// create makes the next batch.
func (p *producer) create() *sent {
	s := p.s
	s.numbers[p.part]++
	b := Batch{Producer: p.id, Epoch: p.epoch, Sequence: p.next, TimeMS: 1000}
	x := &sent{epoch: p.epoch, number: s.numbers[p.part]}
	for i := range 1 + s.rng.IntN(3) {
		v := fmt.Sprintf("%d/%d%s%d", p.id, p.next+int32(i), numberAt, x.number)
		b.Values = append(b.Values, v+strings.Repeat(".", s.rng.IntN(400)))
	}
	x.records = int32(len(b.Values))
	x.data = b.Encode()
	p.next += x.records
	p.open = append(p.open, x)
	s.step++
	s.res.Operations++
	x.event = -1
	if p.wait == replica.WaitCommit {
		x.event = len(s.res.History)
		s.res.History = append(s.res.History, Event{
			Partition: p.part, Client: int(p.id), Start: s.step, Kind: Produced, Value: x.number, Records: x.records, Offset: -1,
		})
	}
	return x
}

// number is what create put into a batch.
func number(data []byte) (n int64) {
	t := string(data[headerBytes:])
	if i := strings.Index(t, numberAt); i >= 0 {
		for _, c := range t[i+1:] {
			if c < '0' || c > '9' {
				break
			}
			n = 10*n + int64(c-'0')
		}
	}
	return n
}

// send makes an attempt for x at the target. A node that is down is found out at
// once.
func (p *producer) send(x *sent) {
	put, err := p.target.Propose(p.part, append([]byte(nil), x.data...), p.wait)
	p.began(x, put, err)
}

func (p *producer) began(x *sent, put *Put, err error) {
	if err != nil {
		p.refused(err)
		p.again = true
		if errors.Is(err, ErrNoNode) && p.target.up {
			p.target = p.s.anyReplica(p.part) // it does not hold the partition, or not yet
		}
		return
	}
	x.try, x.since = put, p.s.step
}

// collect looks for answers.
func (p *producer) collect() {
	late := false
	for _, x := range p.open {
		for _, u := range x.old {
			if err, done := u.Answered(); done && err == nil {
				p.acknowledged(x, u)
			}
		}
		if x.try == nil {
			continue
		}
		err, done := x.try.Answered()
		switch {
		case done && err == nil:
			p.acknowledged(x, x.try)
			x.try = nil
		case done:
			x.try = nil
			p.failed(x, err)
		default:
			late = late || p.s.step-x.since > p.patience
		}
	}
	left := p.open[:0]
	for _, x := range p.open {
		if !x.acked {
			left = append(left, x)
		}
	}
	p.open = left
	if late {
		p.giveUp()
	}
}

func (p *producer) acknowledged(x *sent, u *Put) {
	if x.acked {
		if x.base != u.Base {
			p.s.c.Violation("p%d: batch #%d was acknowledged at offsets %d and %d", p.part, x.number, x.base, u.Base)
		}
		return
	}
	x.acked, x.base, p.known = true, u.Base, p.known || x.epoch == p.epoch
	if p.wait != replica.WaitCommit {
		return
	}
	p.s.res.Acked++
	p.all = append(p.all, x)
	e := &p.s.res.History[x.event]
	p.s.step++
	e.End, e.Offset = p.s.step, u.Base
}

// failed decides what an error means for what is open.
func (p *producer) failed(x *sent, err error) {
	p.refused(err)
	p.again = true
	var nl *replica.NotLeaderError
	switch {
	case errors.As(err, &nl) && nl.Leader != 0:
		p.target = p.s.c.Node(p.s.c.where[nl.Leader])
	case errors.Is(err, partition.ErrOutOfOrderSequence) && x != p.first():
		// The one before it was refused: so was this one, rightly.
	case errors.Is(err, partition.ErrOutOfOrderSequence), errors.Is(err, partition.ErrProducerFenced):
		if p.wait == replica.WaitCommit {
			p.s.c.Violation("p%d: batch #%d of producer %d, sent in order with acks=all: %v", p.part, x.number, p.id, err)
			return
		}
		// A leader lost what acks=1 had promised: begin anew.
		p.restart()
	default:
		p.target = p.s.anyReplica(p.part)
	}
}

// refused counts what a full disk refused.
func (p *producer) refused(err error) {
	if errors.Is(err, replica.ErrDiskFull) {
		p.s.res.NoRoom++
	}
}

// first is the oldest batch that is not acknowledged.
func (p *producer) first() *sent {
	for _, x := range p.open {
		if !x.acked {
			return x
		}
	}
	return nil
}

// giveUp stops waiting for everything that is under way.
func (p *producer) giveUp() {
	for _, x := range p.open {
		if x.try != nil {
			x.old, x.try = append(x.old, x.try), nil
		}
	}
	p.again = true
	p.target = p.s.anyReplica(p.part)
}

// restart is a client that begins anew and never learns what became of what it
// had sent: all of it is in the log, or the first part of it, or nothing.
func (p *producer) restart() {
	p.s.res.Unknown += len(p.open)
	p.lost = append(p.lost, p.open...)
	p.epoch, p.next, p.open, p.known, p.again = p.epoch+1, 0, nil, false, false
}

// resend sends everything open again, in order, once nothing is under way.
func (p *producer) resend() {
	for _, x := range p.open {
		if x.try != nil {
			return
		}
	}
	p.again = false
	if !p.target.up {
		p.again, p.target = true, p.s.anyReplica(p.part)
		return
	}
	p.s.res.Retries += len(p.open)
	list := p.open
	if !p.known && len(list) > 1 {
		list = list[:1]
	}
	if p.s.rng.IntN(2) == 0 {
		for _, x := range list {
			p.send(x)
		}
		return
	}
	target := p.target
	target.atOnce(func() {
		for _, x := range list {
			put, err := target.propose(p.part, append([]byte(nil), x.data...), p.wait)
			p.began(x, put, err)
		}
	})
	p.s.c.settle()
}

// verify checks that all that was acknowledged is in the log, in order.
func (p *producer) verify() {
	for _, x := range p.all {
		place, e, ok := p.s.c.logs[p.part].at(x.base)
		if !ok || place.base != x.base || string(e.Data[attrsAt:]) != string(x.data[attrsAt:]) {
			p.s.c.Violation("p%d: batch #%d was acknowledged at offset %d and is not there", p.part, x.number, x.base)
		}
	}
	for _, x := range append(p.all, p.lost...) {
		for _, u := range x.old {
			if _, done := u.Answered(); !done {
				p.s.c.Violation("p%d: an attempt for batch #%d was never answered", p.part, x.number)
			}
		}
	}
}
