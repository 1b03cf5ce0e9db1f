// Package tcp carries Raft messages between nodes in frames of our own over
// TCP. It is the fast one of the transports: entries are never copied on the
// way out of a node and never after read(2) on the way in.
//
// It does not know what a message means, where nodes live (Config.Addr says) or
// what TLS is: Config.Listener and Config.Dial may hand out TLS connections.
//
// # The caller's duties, in order
//
//  1. New(Config): nothing runs yet; connections wait in the listener.
//  2. Start(handler) once: from then on Receive and Unreachable are called, from
//     several goroutines.
//  3. Send as often as wanted. Close once at the end, not from the handler.
//
// # Who does what
//
//	Send → queue.go (copy of the envelopes, bytes bounded) ─┐
//	                                                        ▼
//	writer, one per (peer, lane) with something to send or a connection:
//	  lane.go: connect, take all that waits → encode.go: frames → outbound.go: writev
//	acceptor: accept.go → handshake.go → inbound.go
//	reader, one per accepted connection: socket → slab.go → decode.go → Receive;
//	  at the end of a control lane Down, if the handler is an Observer
//	reporter: report.go → Unreachable
//
// A connection belongs to one (peer, lane) and carries messages in one
// direction, from the node that dialled. So a lane keeps its order, and one
// that is full delays no other.
//
// # A peer that cannot be reached
//
// What is sent while there is no connection waits for the attempt to make one,
// and is dropped and reported when that attempt fails. Attempts are made while
// something waits: the first at once, then after ReconnectMin, doubled up to
// ReconnectMax. A sign of life of the peer, a connection of its own or one of
// another lane, ends the pause. So the first heartbeat after a peer's restart
// is one that already waits; and what a lane holds for a dead peer is no older
// than one pause and one attempt.
//
// # Format
//
// All numbers are little-endian; uv is a varint of encoding/binary. CRCs are
// CRC-32C.
//
//	hello    "DYN1" version u16, n u16, then n bytes:
//	         from i32, to i32, lane u8, len u8, cluster id, crc u32 of all before
//	answer   "DYN1" version u16, code u8, 0 u8, node i32, frame bytes max u32,
//	         crc u32 of all before
//	frame    crc u32 of all that follows, n u32, messages u32, entries u32,
//	         then n bytes: the messages
//	message  type u8, flags u8,
//	         group, to, from, term, log term, index, commit: uv each
//	         [rare]      vote uv, reject hint uv
//	         [context]   length uv
//	         [snapshot]  length of its metadata uv, of its data uv
//	         [entries]   count uv, then for each one
//	                     u32: type (2 bits), other (1 bit), length of data (29 bits)
//	                     [other] term uv, index uv
//	         context, metadata (protobuf), data of the snapshot, data of the entries
//
// An entry without the other bit has the term of the one before it and the next
// index; the first one goes by the message's term and index. An empty byte
// slice arrives as nil.
//
// # Invariants
//
//   - Nothing of a frame is handed out before its CRC was right.
//   - The From of Receive is the node of the handshake; a frame cannot name one.
//   - Of two connections of one (peer, lane) the later wins: its hello is
//     answered when the reader of the earlier one has ended, and a writer sends
//     nothing before the answer. So no frame of the earlier one is delivered
//     after one of the later.
//   - Memory follows the bytes that came, not those that were announced: see
//     slab.go and decode.go.
//   - Everything that can grow has a limit in Config or here and a counter in
//     Stats.
//   - Goroutines: two, then two per outgoing connection (its writer and the
//     watcher that sees its end) and one per accepted one. Close ends and awaits
//     all of them.
//
// Read next: transport.go, lane.go, encode.go.
package tcp
