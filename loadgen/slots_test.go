package loadgen

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestRingHandsOver pushes slots through a ring from another goroutine; every slot arrives in order and no wake is missed.
func TestRingHandsOver(t *testing.T) {
	const n, rounds = 64, 200_000
	slots := make([]slot, n)
	free, busy := newRing(n), make(chan *slot, n)
	for i := range slots {
		free.push(&slots[i])
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := range busy {
			free.push(s)
		}
	}()
	for i := range rounds {
		s := free.pop()
		if s == nil {
			if err := free.wait(context.Background(), 1+i%8); err != nil {
				t.Fatal(err)
			}
			s = free.pop()
		}
		if want := &slots[i%n]; s != want {
			t.Fatalf("round %d: got another slot than the oldest", i)
		}
		busy <- s
	}
	close(busy)
	<-ended
	if free.len() != n {
		t.Fatalf("%d of %d slots came home", free.len(), n)
	}
}

func TestRingWaitEndsWithContext(t *testing.T) {
	r := newRing(4)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if err := r.wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err = %v", err)
	}
	r.push(&slot{})
	if len(r.wake) != 0 {
		t.Fatal("a wake was left for nobody")
	}
	if err := r.wait(context.Background(), 1); err != nil || r.pop() == nil {
		t.Fatal("the ring is unusable after a cancelled wait")
	}
}
