// Package variants holds the deliberately bad arms of the experiments rwlock and
// batching: what an earlier broker did on its produce path, done honestly. A node
// takes one only where its configuration says OnlyToMeasure, and without one
// nothing here runs: the shipped path pays a nil check.
//
// It knows neither Raft nor Kafka and measures nothing; it counts (Stats), so that
// an arm can be checked to be the arm it says it is.
//
// The settings of Config are independent, so that two arms can differ by one:
//
//	Lock     what a request holds while it is handed to its group (lock.go)
//	Batch    how requests become proposals (gather.go; single: replica.Config.Single)
//	Poll     when a worker looks (multiraft.Config.Poll)
//	Sync     how many entries share a sync (sync.go)
//	Nested   a commit in the metadata group before the answer (produce.go)
//	SyncWait how much longer a sync of the log takes (vfs.Slow): no arm of these
//	         experiments, but a disk that this machine does not have
//
// A slow arm does the work it stands for. It waits for a timer only where that is
// its rule: Batch timer and window, Poll, SyncWait, and the writer of Lock read-writer.
//
// The way of a request through an arm, outermost first:
//
//	Seat.Append   lock enter
//	                gather, or hand over at once
//	              lock handed                        (read and mutex let go here)
//	  …committed and applied…
//	Reply         nested commit
//	              lock answered                      (exclusive and partition let go here)
//	              the front's own Reply
//
// The caller: Check, then New, Open the log through EachSync if Sync asks for it,
// a Seat for each partition, Close when nothing is appended any more.
package variants
