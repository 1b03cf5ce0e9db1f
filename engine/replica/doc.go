// Package replica is one member of one Raft group as a pure state machine
// around go.etcd.io/raft's RawNode: events go in, everything to persist, send
// and answer comes out in one Output.
//
// It has no goroutine, no clock, no randomness and no I/O of its own. (Raft
// draws its election jitter from crypto/rand; a test that must replay uses
// testing/cryptotest.) It does not know wal files, sockets or Kafka. Raft's
// protobuf types stay inside replica, multiraft and transport.
//
// A Replica belongs to one goroutine, its owner, whose duties are, in a loop:
//
//  1. hand it what happened: Step (a message of a peer), Stored (an append that
//     became durable), Tick, Propose, ReadIndex, in any number and order;
//  2. call Turn, which fills an Output;
//  3. send Output.Messages to peers at once: they may leave before the local
//     sync;
//  4. append Output.Records to the log in one piece, and when they (and all
//     that was appended before them) are durable, hand back each Output.Stored
//     through Stored. These carry the votes and acknowledgements that must not
//     leave earlier. They must come back in order, and never be lost unless the
//     group stops.
//
// # One proposal
//
//	Propose -> queue -> Stamp -> MsgProp -> Turn: Records, Messages
//	                                          | durable
//	   WaitDurable answered  <-  Stored  <----+
//	   WaitCommit answered   <-  Turn: commit -> Apply
//
// All that a drain of the owner's mailbox holds for one group becomes one
// MsgProp: batching comes from what arrived meanwhile, never from a timer.
//
// A leader that is its group's only member goes the same way without Raft in the
// middle: see solo.go.
//
// # Invariants
//
//   - applied <= commit <= last; an entry is applied only when it is durable
//     here as well (AsyncStorageWrites).
//
//   - A waiter is told exactly once. Waiters are keyed (index, term): they are
//     bound when Raft gave the entry its place, and all of them are failed when
//     the term of their leadership ends.
//
//   - Stamp runs only between Lead and Follow: after the first entry of the
//     leader's own term was applied. Proposals that come earlier wait in a
//     bounded queue, so an election that is won costs the client no error.
//
//   - Term and vote are part of the append that first depends on them. A commit
//     index that moved alone costs no append: it rides on the next one, because
//     Raft recovers it (a restarted replica learns it again from its leader, or
//     commits its whole log as a leader). See Flush.
//
//   - A leader answers reads by itself only while a majority has promised not to vote
//     for another one: leases, off by default, see lease.go.
//
// # Deviations and pitfalls of the library (v3.6.0)
//
//   - ReadIndex with a context that was used before can answer from the first
//     use's acknowledgements: a stale read. Each attempt has a context of its
//     own; TestReusedReadContextIsStale keeps the reason.
//   - A sole voter answers ReadIndex from its commit index even before it has
//     committed anything in its term, which after a restart may be behind what
//     was acknowledged. Reads wait for Lead, and those of its learners are
//     dropped until then.
//   - With AsyncStorageWrites a candidate asks for votes before its own is durable.
//     Two others can elect it without that; it may lose its power, forget the term,
//     and win it once more with another log. MsgVote waits for the append: turn.go.
//   - RawNode panics on errors of its Storage. Turn and Step turn a panic that
//     follows a storage error into ErrDamaged.
//
// Read next: turn.go, then propose.go, then package multiraft.
package replica
