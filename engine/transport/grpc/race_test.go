//go:build race

package grpctransport

// raceEnabled: the race detector makes sync.Pool forget at random.
const raceEnabled = true
