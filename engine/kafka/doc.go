// Package kafka answers the Kafka protocol: a listener, its connections, and
// one file for each API, named by its key.
//
// It does not know Raft, logs, files or metadata: all it needs of the node
// stands in Backend and Partition (backend.go), and of other packages it uses
// the types of a batch on its way (partition.Append) and what an acknowledgement
// waits for (replica.Wait). It has no consumer groups and no transactions yet;
// their APIs are not advertised.
//
// # The caller's duties, in order
//
//  1. Open everything Backend stands for.
//  2. Serve(Config{Listener, Backend}): it answers from then on.
//  3. Close, before what Backend stands for is closed: it waits for answers.
//
// # One connection
//
//	reader: socket → slab.go → frame → request.go ─┬ Produce: to the log at once
//	                                               └ others: a decoded call
//	                                   ring.go: both, in the order of arrival
//	writer: the ring's head: wait for its outcome, or run it → out.go → one writev
//
// Requests are pipelined: the reader does not wait for answers. Replies leave
// in the order of requests, as the protocol wants. A call runs on the writer
// when its turn comes, so a Fetch that waits holds up the replies behind it on
// its own connection and nothing else.
//
// # Invariants
//
//   - Nothing of a request takes effect before all of it was decoded.
//   - Every error a Backend answers with becomes a Kafka code other than 0, in
//     errors.go and nowhere else.
//   - A batch's bytes are not copied between read(2) and the log, but for what
//     slab.go says; they belong to the log once Append took them.
//   - Everything a client can make grow has a limit in Config and a counter in
//     Stats: at a limit the connection is not read from, so TCP holds the client
//     back; it is closed where it breaks the protocol or a deadline.
//   - A connection has two goroutines, owned by Server; Close waits for them.
//     Only a ListOffsets request starts more, at most listedAtOnce at a time, and
//     waits for them; no timer and no other request or wait does.
//
// Read next: 00_produce.go (the hot path in pseudo-code), conn.go, then
// versions.go for the table of APIs.
package kafka
