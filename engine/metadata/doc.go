// Package metadata is the cluster's metadata log as a state machine: topics,
// the replicas of their partitions, brokers, configs and the id counters,
// replicated by Raft group 1.
//
// It does not place replicas (engine/placement), open or remove them (the
// assembly, told by Config.OnChange), elect anybody, keep a clock or draw
// random numbers: ids and times stand in the records, chosen by the proposer,
// and everything else follows from the records before. It knows no Kafka codes;
// its sentinels are mapped by the assembly.
//
// The caller, in this order:
//
//  1. makes a State with New and hands it to the group manager as the state
//     machine of ids.MetadataGroup, with Restore first where a snapshot exists;
//  2. asks for a change with Prepare, proposes Pending.Proposal to the group and
//     waits with Pending.Wait;
//  3. after an unknown outcome (leadership lost, time-out) prepares the same
//     record with the same RequestID again: it is applied once;
//  4. reads through State.Image, an immutable picture that any goroutine may keep.
//
// # Who checks what
//
// A record's form (names, counts, addresses) is part of the record version and
// checked wherever a record is read. Config keys and values are checked against
// the tables of this build by Prepare and by the leader's Stamp. What depends on
// the cluster's state (does the topic exist, is the broker known) is decided
// by Apply, on every replica alike, and the verdict reaches the proposer as the
// error of Pending.Wait. So the rules that Apply follows are few and part of
// the record version, while the tables may grow from build to build without
// replicas disagreeing.
//
// # Invariants
//
//   - Two States that applied the same entries have byte-equal snapshots; so
//     have a State that replayed the whole log and one that took a snapshot and
//     replayed the rest.
//   - Group and replica ids are counted up and never reused: apply numbers the
//     replicas of a new partition, in partition order, then replica order.
//   - An entry that cannot be read (unknown type, newer version, garbage) stops
//     the group; it is never skipped.
//   - A request id is applied once as long as it is among the last
//     RememberedMax; later repeats are judged by the state alone.
//
// Read next: records.go (what can be said), apply.go (what it does), image.go,
// then testdata for whole conversations.
package metadata
