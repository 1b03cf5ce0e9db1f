package engine

import "testing"

// TestRest: a quiet time frees memory once, and again only after something
// happened.
func TestRest(t *testing.T) {
	freed := 0
	r := rest{free: func() { freed++ }}
	looks := func(n int, appends uint64, want int) {
		t.Helper()
		for range n {
			r.look(appends)
		}
		if freed != want {
			t.Errorf("freed %d times, want %d", freed, want)
		}
	}
	looks(1+restLooks-1, 5, 0)
	looks(1, 5, 1)
	looks(10*restLooks, 5, 1)
	looks(1+restLooks-1, 6, 1)
	looks(1, 7, 1)
	looks(restLooks, 7, 2)
}
