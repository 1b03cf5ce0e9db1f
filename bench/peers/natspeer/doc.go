// Package natspeer measures NATS JetStream with three replicas as dyno is
// measured: three servers in processes of their own on loopback, one stream per
// "partition", a load that counts from the schedule, and a proof of what became
// of every acknowledged message.
//
// It does not repeat, compare or judge runs; bench does. It does not tune the
// servers: they run with what their project ships, but for the one setting in
// question, sync_interval.
//
// # Caller's duties, in order
//
//  1. Be a program that calls ServeNode when it is started with Config.Server.
//  2. Fill a Config; its zero values are defaults, Dir is required.
//  3. Call Run. It blocks until the load has been drained and verified, every
//     server has been reaped and what it made on the disk is gone.
//  4. Read Result.Violation for the verdict.
//
// # What an acknowledgement of the peer means
//
// As read in nats-server v2.15.3 (server/raft.go storeToWAL, filestore.go
// updateDurabilitySettingsLocked): a stream's leader proposes what has queued
// up as one Raft entry of at most 256 KiB, stores it in its Raft log, and
// answers each message once a majority stored the entry and it was applied. With
// sync_interval `always` every store into a Raft log is followed by an fsync,
// so an acknowledged message is durable on a majority, as with dyno's acks=all; the
// stream's own files are then synced only before the Raft log is cut. With the
// default a file is synced in the background every two minutes, so a power cut
// of all servers loses acknowledged messages.
//
// # Time and counts
//
// As in dyno/loadgen, whose report it fills: response = answered - intended,
// where intended comes from the schedule of an open loop and is the send
// otherwise; sent, acked, failed and unknown cover the whole run; throughput is
// what was acknowledged from the start of the timed window to the last answer.
// A message of the window that was never acknowledged enters the response at
// the least it can have been.
//
// # Invariants
//
//   - sent = acked + failed + unknown once Run has returned.
//   - The client is this process and the servers are others, so the processor
//     time of each is its own.
//   - A publisher never has more than Config.Pending messages unanswered, and the
//     library's own limit is never met: it would turn waiting into an error.
//   - A server ends with this process, whatever ends it: its standard input
//     closes and the kernel signals it.
//
// Read next: run.go (the life of a run), publisher.go (the hot path), server.go.
package natspeer
