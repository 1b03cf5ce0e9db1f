// Package grpctransport carries Raft messages between nodes over gRPC: one
// client stream per peer and lane, opened when it is first needed and for as long
// as both sides live. Each has a connection of its own: on a shared one a vote
// would wait for the entries that TCP has already taken, or lost.
//
// It does not listen (the caller's grpc.Server does, and may serve other things
// on the same port), do TLS (Config.Dial and the listener do), prove that a peer
// is the node it says it is (mutual TLS can), or repeat what was lost (Raft
// does).
//
// The caller's duties, in order: New; Register on a server made with
// ServerOptions; Start; Serve and Send; at the end Close, then stop the server.
//
// # One way
//
// A batch goes through these hands:
//
//  1. Send copies the envelopes into the queue of a link, within QueueBytesMax.
//  2. The link's writer takes the queue whole, cuts it into frames of about
//     FrameBytes and hands each to SendMsg, which blocks when 64 KiB wait.
//  3. The codec packs a frame: a header, and the entries' data as it lies in
//     memory. See pack.go for the format.
//  4. gRPC's own goroutine copies that into its write buffer, 16 KiB at a time as
//     the windows allow, and gives the header's memory back to the pool.
//  5. At the peer a goroutine of gRPC reads frames into pooled memory; the
//     stream's reader collects a message, unpacks it and calls Receive.
//
// # Whose memory
//
// Entries never change, so gRPC may read their data after Send, SendMsg and even
// Close have returned. Scratch memory is lent to gRPC with a counted reference.
// Received entries are kept by Raft: unpack copies them out of gRPC's memory,
// once, into one allocation per envelope. The alternative, a pool that never
// takes back so that slices may be kept, saves that copy only for entries that
// lie in one HTTP/2 frame (16 KiB, all of which they then pin), and has to
// allocate every frame: measured with the copy left in, 33 instead of 17 KB and
// 46 instead of 27 us of processor time for an entry of 16 KiB on both sides
// together, of which the copy is about 1 us.
//
// # Invariants
//
//   - On one lane, Receive is called for one node by one goroutine at a time, in
//     the order of Send; after the first message of a newer stream nothing of an
//     older one comes. The proof is at inbound.
//   - Bytes held for a peer: QueueBytesMax per lane and one frame here,
//     WindowBytes per lane and one message there.
//   - Every envelope given to Send is handed to gRPC or reported through
//     Unreachable, unless Close came first. What gRPC had when a stream ended may
//     be lost without a word.
//   - Both sides know the other's cluster, node and protocol version before the
//     first envelope leaves.
//
// # Goroutines
//
//	writer   one per peer and lane; owner: link
//	watch    one per open stream to a peer; owner: outbound, its writer waits
//	reader   one per stream of a peer; owner: Transport
//	reports  one; owner: Transport; calls Unreachable
//
// and gRPC's own: two or three per connection and side, and the handler of each
// stream, which only waits. Ours have ended when Close has returned.
//
// Read next: link.go for the way out, inbound.go for the way in, pack.go.
package grpctransport
