package tcp

import (
	"testing"
	"time"

	"dyno/engine/transport"
)

func testQueue(max int64) *queue { return &queue{max: max, wake: make(chan struct{}, 1)} }

func TestBackoff(t *testing.T) {
	b := backoff{min: 50, max: 1000}
	for _, want := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		if got := b.next(0.9999999); got != want-1 && got != want {
			t.Errorf("at most %d, want %d", got, want)
		}
	}
	b.reset()
	for _, want := range []time.Duration{25, 50, 100} {
		if got := b.next(0); got != want {
			t.Errorf("at least %d, want %d", got, want)
		}
	}
}

func TestQueueTakesOneOfAnySize(t *testing.T) {
	q := testQueue(100)
	big := []transport.Envelope{appendOf(1, 1, 1000), heartbeat(1, 2, 3)}
	if n, start := q.put(big); n != 1 || !start {
		t.Fatal(n, start)
	}
	if n, start := q.put(big[1:]); n != 0 || start {
		t.Fatal(n, start)
	}
	items := q.take(nil)
	if n, _ := q.put(big[1:]); n != 0 {
		t.Fatal("there was room before the writer was done")
	}
	q.release(sizeOf(items))
	if n, start := q.put(big[1:]); n != 1 || start {
		t.Fatal(n, start)
	}
}

// TestQueueWakes: only from empty to not empty, and never the writer that is
// being started.
func TestQueueWakes(t *testing.T) {
	q := testQueue(1 << 20)
	woken := func() bool {
		select {
		case <-q.wake:
			return true
		default:
			return false
		}
	}
	batch := one(heartbeat(1, 2, 3))
	q.put(batch)
	if woken() {
		t.Error("by the first")
	}
	q.take(nil)
	q.put(batch)
	if !woken() {
		t.Error("not by the first after a take")
	}
	q.put(batch)
	if woken() {
		t.Error("by the second")
	}
}

func TestPauseAndKick(t *testing.T) {
	at := time.Unix(1000, 0)
	q := testQueue(1 << 20)
	if _, ok := q.pause(at); ok {
		t.Fatal("a writer without work goes on")
	}
	q.put(one(heartbeat(1, 2, 3)))
	pause := func() time.Duration {
		d, ok := q.pause(at)
		if !ok {
			t.Fatal("the writer ends")
		}
		return max(d, 0)
	}
	if pause() != 0 {
		t.Fatal("waits before the first attempt")
	}
	q.postpone(at.Add(time.Second), true)
	if pause() != time.Second {
		t.Fatal(pause())
	}
	q.kick()
	if pause() != 0 {
		t.Fatal("a kick does not end the pause")
	}
	q.kick() // while the attempt is under way
	q.postpone(at.Add(time.Second), true)
	if pause() != 0 {
		t.Fatal("the kick is forgotten")
	}
	q.postpone(at.Add(time.Second), true)
	if pause() != time.Second {
		t.Fatal("one kick is good for two attempts")
	}
	q.postpone(at.Add(time.Second), false)
	q.kick()
	if pause() != time.Second {
		t.Fatal("a kick ends the pause of a connection that does not last")
	}
}

// What a burst made large is given back by the first use that needs little of it.
func TestBurstIsForgotten(t *testing.T) {
	const burst = 50_000
	l, d := &lane{}, &decoder{}
	items := make([]item, burst)
	d.batch = make([]transport.Envelope, burst)
	for _, use := range []int{burst, 1} {
		l.recycle(items[:use])
		d.batch = d.batch[:use]
		d.release()
		if kept := use == burst; (cap(l.w.items) == burst) != kept || (cap(d.batch) == burst) != kept {
			t.Errorf("after a use of %d: room for %d items and %d messages is kept", use, cap(l.w.items), cap(d.batch))
		}
	}
	l.recycle(make([]item, 1, itemsKeepMax))
	if cap(l.w.items) != itemsKeepMax {
		t.Error("a small list was given back")
	}
}

// A lane that is told to rest gives back both of its lists; what waits meanwhile
// is taken all the same.
func TestRestGivesBack(t *testing.T) {
	large := func(n int) []item { return make([]item, n, itemsKeepMax) } // which no use gives back
	for _, waiting := range []int{0, 3} {
		l := &lane{}
		l.w.items, l.waiting = large(0), large(waiting)
		if got := len(l.next()); got != waiting || cap(l.waiting) != itemsKeepMax {
			t.Fatalf("%d of %d taken, room for %d", got, waiting, cap(l.waiting))
		}
		l.w.items, l.waiting = large(0), large(waiting)
		l.resting.Store(true)
		if got := len(l.next()); got != waiting || cap(l.waiting) != 0 || cap(l.w.items) != 0 || l.resting.Load() {
			t.Errorf("with %d that wait: %d are taken, room for %d and %d is kept", waiting, got, cap(l.waiting), cap(l.w.items))
		}
	}
}

// Every lane of a transport hears of it. These have no connection, so nobody has
// done it yet.
func TestRestReachesTheLanes(t *testing.T) {
	b := newBook()
	n1, n2 := start(t, b, 1, anywhere, forever), start(t, b, 2, anywhere, nil)
	_ = n2.Close()
	gone(t, n1, transport.Control)
	n1.Rest()
	for kind, l := range n1.peers[2].lanes { // peers are not removed
		if !l.resting.Load() {
			t.Errorf("lane %d was not told", kind)
		}
	}
	if err := n1.Close(); err != nil {
		t.Fatal(err)
	}
	n1.Rest() // nobody is there any more
}
