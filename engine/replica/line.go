package replica

import "dyno/engine/ids"

// line is a queue of proposals. Its memory is that of the most it ever held.
type line struct {
	list []*Proposal
	head int // list[:head] has left
}

func (l *line) len() int { return len(l.list) - l.head }

func (l *line) front() *Proposal { return l.list[l.head] }

func (l *line) push(p *Proposal) {
	if l.head > 0 && len(l.list) == cap(l.list) {
		// Move up rather than let append grow: amortised, because at least
		// half of the list must leave before it is full again.
		if n := l.len(); n <= len(l.list)/2 {
			copy(l.list, l.list[l.head:])
			clear(l.list[n:])
			l.list, l.head = l.list[:n], 0
		}
	}
	l.list = append(l.list, p)
}

func (l *line) pop() *Proposal {
	p := l.list[l.head]
	l.list[l.head] = nil
	if l.head++; l.head == len(l.list) {
		l.list, l.head = l.list[:0], 0
	}
	return p
}

// answerTo tells all with Index <= index that their promise holds. As a list of
// waiters a line is in ascending order of index, and all of it was proposed in
// one term: it is emptied when that leadership ends. So (index, term) is unique
// although only the index is compared.
func (l *line) answerTo(index ids.LogIndex) {
	for l.len() > 0 && l.front().Index <= index {
		p := l.pop()
		p.Waiter.Proposed(p, nil)
	}
}

func (l *line) failAll(err error) {
	list := l.list[l.head:]
	l.list, l.head = nil, 0
	for _, p := range list {
		p.Refuse(err)
	}
}

// Refuse tells p's waiter, if it has one, that p failed. For those who hold a
// proposal that never reached a replica.
func (p *Proposal) Refuse(err error) {
	if p.Waiter != nil && p.Wait != WaitNone {
		p.Waiter.Proposed(p, err)
	}
}
