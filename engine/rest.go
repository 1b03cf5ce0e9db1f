package engine

import "runtime/debug"

// rest gives memory back that a busy time left behind: the heap of a node that
// was loaded is several times what it needs while nothing happens, and the
// runtime keeps that for the next load. One collection after restLooks quiet
// looks, and no more until something happened again.
type rest struct {
	appends uint64 // of the workers, at the last look
	quiet   int    // looks since they changed
	done    bool
	free    func()
}

// restLooks is how many looks, of isrEvery each, make a quiet time.
const restLooks = 30

func newRest() rest { return rest{free: debug.FreeOSMemory} }

// look counts a look at which the workers had submitted so many appends.
func (r *rest) look(appends uint64) {
	switch {
	case appends != r.appends:
		r.appends, r.quiet, r.done = appends, 0, false
	case r.done:
	default:
		if r.quiet++; r.quiet >= restLooks {
			r.done = true
			r.free()
		}
	}
}
