// Package cell is what runs inside a measuring child process: one cell of an
// experiment, a fixed amount of work on one log in one fresh directory, and the
// protocol by which the parent starts it, lets several begin together and hears
// the result.
//
// It does not choose cells, repeat them or judge them; bench does. It depends on
// nothing but dyno's wal, so that the peers' module (bench/peers) can drive
// other logs through the very same code.
//
// A child's life: the parent writes one Request line; the child prepares its
// files, says "ready", waits for "go", works, verifies what it wrote by reading
// it back from closed and reopened files, and says "result" or "error". The end
// of the child's stdin means that the parent is gone: the work is cancelled.
//
// Invariants: only the time between "go" and the last durable write is counted;
// preparation and verification are not. A result is reported only after every
// record written was found again, once, with the bytes it was written with.
//
// Read next: protocol.go, raw.go (the loops everything is compared with),
// appenders.go (the work shared by all logs).
package cell
