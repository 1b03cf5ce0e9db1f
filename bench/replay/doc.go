// Package replay plays a fixed workload on a cluster in one process where nothing
// happens by itself, and counts exactly what the broker does for it: fsyncs, writes,
// bytes of the log, Raft's messages and bytes, allocations. The counts are the same
// each time, so the gate (bench/gate, lane x) blocks on a single one more.
//
// It measures no time, says nothing of how the same work is scheduled under load,
// and knows no faults: engine/enginetest has those.
//
// # The caller's duties, in order
//
//  1. Run, a few times, with a command that calls Main: a fresh process each.
//  2. Merge the sets; what does not agree is no count but a fault of the replay.
//  3. Compare the set with another of the same Workload.
//
// # What is played
//
// Two clusters, of three nodes and of one. On each node the code that a broker runs:
//
//	requests as bytes → kafka.Server (decode, checks, encode) → partition.Append
//	→ multiraft worker turn → replica → wal.Log → apply → answer as bytes
//	frames of transport/tcp from node to node, encoded and decoded
//	Fetch out of memory and log; entries moved to engine/store; Fetch out of files
//
// What is left out, and so not counted: sockets and their goroutines, package
// engine's own wiring (in-sync replicas, retention, the mover's schedule: move.go does
// what the mover does to a segment), the metadata group, gossip, and the system's
// disk: disk.go is memory, see there.
//
// Everything that was sent must be answered well and read back twice, else there
// are no counts.
//
// # Why it is the same each time
//
// As in engine/enginetest: the process is a bubble of testing/synctest, a node has one
// worker, and a stimulus touches one node. A burst of requests, a frame's messages or a
// tick are put into the worker's mailbox while it is held (node.atOnce), appends reach
// the log one by one when the replay passes them on (heldLog), and messages wait on a
// lane until it delivers them (wires). After each synctest.Wait returns when
// every goroutine waits for the replay. So what one drain, one sync and one frame hold
// is not up to the scheduler. Time is the bubble's, and moves when the replay says so.
//
// Allocations are those of the whole process between two such moments, with one
// processor and no garbage collection. The replay's own are few: disk and network
// use memory that was made before; holding a worker costs two. What is kept is what
// the heap holds after collections at the end, beyond what it held after the start.
//
// Read next: workload.go, cluster.go, node.go, then set.go for what is counted.
package replay
