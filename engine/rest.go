package engine

import "runtime/debug"

// rest gives memory back that a busy time left behind: the heap of a node that
// was loaded is several times what it needs while nothing happens, and the
// runtime keeps that for the next load. After restLooks quiet looks the workers
// and the transport empty their lists, and with the next one there is one
// collection; no more until something happened again.
type rest struct {
	appends uint64 // of the workers, at the last look
	quiet   int    // looks since they changed
	done    bool
	shed    func() // has the lists emptied, soon
	free    func() // collects
}

// restLooks is how many looks, of isrEvery each, make a quiet time.
const restLooks = 30

func newRest(n *Node) rest {
	shed := func() {
		n.raft.Rest()
		if t, ok := n.transport().(interface{ Rest() }); ok { // gRPC's buffers are its own
			t.Rest()
		}
	}
	return rest{shed: shed, free: debug.FreeOSMemory}
}

// look counts a look at which the workers had submitted so many appends.
func (r *rest) look(appends uint64) {
	switch {
	case appends != r.appends:
		r.appends, r.quiet, r.done = appends, 0, false
	case r.done:
	default:
		r.quiet++
		switch {
		case r.quiet == restLooks:
			r.shed()
		case r.quiet > restLooks:
			r.done = true
			r.free()
		}
	}
}
