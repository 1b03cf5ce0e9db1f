// Package loadgen loads a Kafka-protocol cluster, measures it from the schedule and proves what became of every record.
//
// It does not know dyno: a broker is an address, and everything goes over the public protocol through franz-go, so the same
// command and the same report serve Apache Kafka 2.1+, Redpanda and dyno. It never imports the engine. It does not compare runs
// and does not judge speed: package bench does.
//
// # Caller's duties, in order
//
//  1. Fill a Config; its zero values are the defaults of `dyno load`.
//  2. Call Run. It blocks until the load has ended, has been drained and, where asked, verified. Run owns every goroutine it
//     starts and has joined them all when it returns.
//     Read in its place sends nothing and reads what a topic holds.
//  3. Read Result.Violation for the verdict, Result.JSON for the dyno.load/1 object, Result.WriteText for people and
//     Result.WriteDir for the files other tools read.
//
// # Time
//
// All times are nanoseconds on one monotonic clock that starts with the run. For each record three instants are kept: intended
// (what the schedule, fixed before the run from a seed, asked for), sent (when it was handed to the client library) and answered.
//
//	response = answered - intended     what a user of the system feels; holds the stall of the server and of the generator
//	service  = answered - sent         what the client library and the cluster took
//	delay    = sent - intended         what the generator, or a full buffer, took
//	e2e      = consumed - intended     by a live consumer in this process, so on the same clock
//
// A sender wakes at most every 100 us, one that is asked for more than 12,500 records/s at most every 8 ns per record/s, up to 1 ms
// (WakeEvery; the rate is the mean of a profile): what was due meanwhile goes out at once, with its delay.
//
// A late record keeps its intended time; debt is never forgiven. Without a schedule (closed loop, saturating) intended is sent,
// so response equals service and delay is not measured. Only records whose intended time lies in the timed window (after the
// warm-up) enter the histograms.
//
// A record of the window that was never acknowledged (unsent, unknown or failed) enters the response all the same, at the least it
// can have been: end of the window - intended, or settled - intended where that is later. Such values are censored and counted in
// Detail.Censored. An interrupted run has no such end: there the time of the interruption takes its place. Service and delay hold
// acknowledged records alone, so without a schedule service is the response, censored values included.
//
// # Counts
//
// sent, acked, failed, unknown and the verification cover the whole run, warm-up included: a record lost during warm-up is lost.
// Throughput covers the timed window and is what the partitions' end offsets confirm, never client appends; of a Read it is what the
// clients got. At acks 0 nobody
// answers: acked then means handed to the socket, and response and service are not measured.
//
// # Invariants
//
//   - sent = acked + failed + unknown once Run has returned.
//   - One goroutine stamps records of a producer (its sender) and one at a time settles them (the client library calls promises
//     serially), so a producer's ledger needs no lock; the verifier reads it after both have ended.
//   - Recording a latency allocates nothing and holds a lock only against the once-a-second epoch swap.
//   - Memory: slots are a fixed ring and histograms are fixed; the ledger grows by about 0.125 bits per settled record (ledger.go),
//     and each second adds some kilobytes of encoded histograms.
//
// Read next: sender.go (the hot path), ledger.go (what is proven), saturate.go (who was the bottleneck).
package loadgen
