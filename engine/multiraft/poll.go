package multiraft

// A worker that polls is the arm of an experiment (Config.Poll). It differs from
// the others in when it looks, and in nothing else:
//
//	proposals, messages of peers, ticks, calls   at the next look
//	the end of an append of its own              at once: it is the rest of a look,
//	                                             in which the origin waited for its disk
//
// So an answer with one voter takes one look, and with more of them one at the
// leader, one at a follower, and one at the leader again.

// look waits for the time of the next look and takes the mailbox whole, or for the
// end of an append and takes no more than that.
func (w *worker) look() {
	select {
	case <-w.looks.C:
		w.counts.polls.Add(1)
		w.in = w.box.take(w.in, false)
	case <-w.box.ended:
		w.in = w.box.takeDone(w.in)
	}
}

// takeDone takes the finished appends and leaves everything else.
func (b *mailbox) takeDone(empty inbox) inbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	empty.done, b.in.done = b.in.done, empty.done
	return empty
}
