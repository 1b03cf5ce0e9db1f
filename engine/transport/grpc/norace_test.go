//go:build !race

package grpctransport

const raceEnabled = false
