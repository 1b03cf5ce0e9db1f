// Package partition gives a replicated log the meaning of a Kafka partition:
// offsets, high watermark, leader epochs, idempotent producers, log start and
// retention. A Partition is the state machine that a replica drives, and what
// the protocol front reads.
//
// It does not decide leadership, replicate, write files, keep clocks or start
// goroutines; it takes no batch apart beyond its header, save for look-ups by
// timestamp and Recompress.
//
// # Duties of the caller, in order
//
//  1. New with L1 and the state of its last checkpoint; Attach with the reader
//     of the log; hand the Partition to the replica as its StateMachine with
//     Applied as the index to go on from.
//  2. For each produced batch: ParseBatch, where the topic demands it Recompress
//     and SetAppendTime, then an Append with Data, Wait and Reply set; Bind it
//     and propose what Bind returns. Also with acks=0 the Append is its own
//     Waiter: Stamp finds the way back from the proposal by p.Waiter.(*Append),
//     which costs no allocation and no table.
//  3. For a log start or clock, propose the encoded command with any Waiter.
//  4. To move entries to L1: write them there, take State, checkpoint both,
//     Moved, and only then let the log drop them.
//  5. Every few minutes on the leader: Housekeep, and propose what it returns.
//
// Stamp, Unstamp, Lead, Follow, Apply and Applied belong to the group's worker.
// Everything else may be called from any goroutine, and only Read, ByTime and
// MaxTime may read the disk, with no lock held.
//
// # Invariants
//
//   - Offsets are dense: a batch begins where the one before it ends, whatever
//     entries without records lie between. Apply checks it.
//   - LogStart <= LastStable <= HighWatermark <= LogEnd, as shown by Offsets.
//   - What Apply builds (producers, epochs, log start, index) depends on the
//     entries alone, so it is the same on every replica. Only what is stamped
//     and not applied belongs to one leader, and it can be dropped without trace.
//   - Below the first offset of the hot index batches are read from L1, from it
//     on by log index; Moved shifts the border, and a reader that looked before
//     the shift and reads after it looks again.
//
// Read next: machine.go (the life of a batch), pending.go (why rollback is
// exact), checkpoint.go (why a restart converges).
package partition
