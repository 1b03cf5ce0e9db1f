package engine

import "testing"

// TestRest: a quiet time has the lists emptied and then frees memory, once, and
// again only after something happened.
func TestRest(t *testing.T) {
	var shed, freed int
	r := rest{shed: func() { shed++ }, free: func() {
		if freed++; freed > shed {
			t.Errorf("memory is freed before the lists are empty")
		}
	}}
	looks := func(n int, appends uint64, wantShed, wantFreed int) {
		t.Helper()
		for range n {
			r.look(appends)
		}
		if shed != wantShed || freed != wantFreed {
			t.Errorf("shed %d and freed %d times, want %d and %d", shed, freed, wantShed, wantFreed)
		}
	}
	looks(1+restLooks-1, 5, 0, 0)
	looks(1, 5, 1, 0)
	looks(1, 5, 1, 1)
	looks(10*restLooks, 5, 1, 1)
	looks(1+restLooks-1, 6, 1, 1)
	looks(1, 7, 1, 1)
	looks(restLooks, 7, 2, 1)
	looks(1, 8, 2, 1)
	looks(restLooks+1, 8, 3, 2)
}
