// Package engine assembles a broker: Open wires the shared log, the Raft
// groups, the metadata, the hosted partitions, the Kafka front and the admin
// server of one node; Close ends them in reverse.
//
// It decides nothing of its own: consensus is replica and multiraft, Kafka's
// log semantics are partition, the wire is kafka, what exists is metadata. It
// has no flags and no measuring code. Its own subjects are the data directory
// (format.go), which replicas this node opens (hosts.go), moving entries from
// the shared log to partition files (mover.go) and retention (retention.go).
//
// The caller's duties, in order: Format an empty directory once; Open it; watch
// Failed; Close.
//
// # Invariants
//
//   - Nothing is served before everything this node acknowledged alone is
//     applied again.
//   - What leaves the shared log is durable elsewhere first: in partition files
//     up to a checkpoint, or in the metadata snapshot.
//   - Each part is closed before what it uses; the log is closed last, with a
//     clean end.
//
// Read next: node.go, then ARCHITECTURE.md.
package engine
