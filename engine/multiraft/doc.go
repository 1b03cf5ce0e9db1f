// Package multiraft runs all Raft groups of one node: it owns every goroutine
// of consensus, gives each replica its turn, and turns the output of all of
// them into one append to the shared log and one batch per peer.
//
// It does not decide which groups exist (metadata does), what their entries
// mean (StateMachine), how bytes reach a disk (package wal) or another node
// (package transport).
//
// The caller's duties: open the log, New, Open for each group the metadata
// names, and at the end Quiet, Transport.Close, Close, then close the log. When
// Failed is closed, the log is dead: end the process.
//
// # Goroutines
//
//   - W workers. A group belongs to worker (id mod W) for ever; its replica, its
//     log view's writing side and its state machine are touched by that worker
//     alone. A worker sleeps until its mailbox fills; it polls only as the arm of
//     an experiment (Config.Poll).
//   - One ticker, which sleeps without a timer while no group needs time and there
//     are no other nodes. A sole voter that leads needs none, and none does an idle
//     group that has gone quiet; other nodes are watched for all groups at once.
//   - One for each snapshot that is being installed, at most one a group.
//
// The log's flusher only posts a finished append to the worker's mailbox.
//
// # Invariants
//
//   - One append per worker and drain, however many groups it serves. Appends
//     of one worker finish in the order of submission.
//   - No answer that rests on an append leaves before the log reported it
//     durable: proposals, votes and acknowledgements to peers alike.
//   - Read gives applied entries only, so nothing it shows is ever replaced.
//   - A failed append is the end: all groups stop, all waiters hear of it, and
//     nothing is tried again.
//
// # Membership
//
// A group begins with Spec.Members, which whoever reads the metadata gives at every
// Open; changes are entries of its log. Group.Members is what became of it. Once
// the log is cut it must be kept with the state machine's state and given back as
// Spec.Conf.
//
// # Full disk
//
// When Log.Full says that no further segment can be made, Propose fails with
// ErrDiskFull, what is queued fails with it, and entries of peers are dropped as
// if the network had lost them. All appends may use the log's reserve, so what
// Raft has already taken and its own votes, first entries and deletions still find
// room, and reading goes on. An append that finds even the reserve full is a failed
// log: so each drain looks at Full first and then takes at most DrainBytesMax; what
// waits beyond that comes with the next ones. At the moment the disk gets full, no
// more is on its way than that and the log's own queue.
//
// Read next: worker.go for a drain, group.go for what callers see, grouplog.go
// for reading back, directory.go for the map on the produce path.
package multiraft
