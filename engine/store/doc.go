// Package store is L1: the committed entries of one partition, moved out of the
// shared log into files of its own, where consumers that lag and replicas that
// lag read them, and where retention deletes them a file at a time.
//
// It knows no Raft and of Kafka only the header of a record batch: its length,
// its offsets, its checksum. It does not decide what is moved or deleted, hold
// uncommitted entries, start goroutines or cache data.
//
// # Duties of the caller, in order
//
//  1. Open with AtLeast, the last entry that must be here.
//  2. Append committed entries, each once, in order; then Checkpoint with the
//     state that belongs to them. Only then may the source let them go.
//  3. TruncateBefore when the log start moves.
//  4. After ErrFailed, open anew; after ErrCorrupt the replica is damaged.
//
// # Files
//
// A directory per log, and in it pairs of files, named by the first log index
// and the first offset, 20 digits each:
//
//	<index>-<offset>.log   record batches back to back and nothing else, so that
//	                       a range of the file is what a fetch answers
//	<index>-<offset>.idx   frames: what the log holds, entry by entry
//
// A frame, 8-byte aligned and big-endian: crc32c of all that follows (4), body
// length (4), kind (1), version 1 (1), zeros (6), the frame's own position (8),
// promise (8), body, zeros up to 8. The promise says how much of the file was
// durable before the frame was written. Kinds:
//
//	H  head, first in each file: magic, first index, term of the entry before,
//	   first offset
//	E  up to 512 entries or about 64 KiB of batches. Fixed part: first index,
//	   count, term before, first offset, end offset, position and bytes in the
//	   log file, largest timestamp, last term. Then each entry: flags, the
//	   difference of its term if that changed, its type if not 0, and for a batch
//	   its bytes, last offset delta and difference of largest timestamp (varints),
//	   for other data its length and the data itself: commands and membership
//	   changes live here, so every entry comes back byte for byte
//	S  seal, last in a full file: its summary (last index and term, end offset,
//	   bytes, largest timestamp, where each term begins) and the frame's length,
//	   so that Open finds it from the end and reads nothing else of a full file
//	K  checkpoint: first index of the whole log, summary of this file, state
//
// Every byte of a batch is covered: its checksum covers all from byte 21 on, and
// base offset, length, epoch and magic are compared with the index. All of it is
// checked on the way in and on each read.
//
// # Why it survives a power cut
//
// The last valid K is the log; what no K covers is removed by Open. The order:
//
//	Append      write batches to .log (whole pages of large appends past the page
//	            cache, direct.go), then frames to .idx; no sync. A full file gets
//	            its seal, the next is created.
//	Checkpoint  1. sync each .log written to and each .idx that was sealed
//	            2. if files were created, sync the directory
//	            3. write K behind the frames of the last .idx, sync it
//	            4. show the new state to readers
//	Remove      a file named REMOVED first, see remove.go
//	Truncate*   a K with the new first index, as above; then delete the files
//	            below it; sync the directory
//
// A K that can be read entails that all it covers is durable: 1 and 2 were over
// when it was written, and the frames before it in its own file carry their own
// checksums; if one of them is torn the scan stops there and never sees that K.
//
// A round that was cut short leaves bytes and names behind the last K. Open cuts
// the files to it and syncs the cut before it returns. Without that sync the
// same entries, appended again, could meet the K of the cut round after a second
// power cut: it is valid, it stands right behind frames equal to its own, and the
// batches it covers were cut and written anew without a sync
// (TestStaleCheckpoint). Newer files, which have no valid K, are removed; their
// bytes do not change any more, so one that comes back is removed again.
//
// Files below K's first index are leftovers of an unfinished Truncate, whatever
// subset of them survived. All others must form a chain: each head states where
// the file before must end.
//
// Damage and tears are told apart like in package wal: a bad frame at or above
// every promise that follows it is a tear; one below a promise was durable once
// and is damage. The last round of a file is promised by nobody, so a damaged
// last K reads like a torn one. The caller knows better: what it no longer holds
// elsewhere must be here. That is AtLeast, and Open checks it, and everything
// else that can be checked, before it changes anything.
//
// # Invariants
//
//   - Readers see one checkpoint, an immutable view; the writer never changes
//     bytes below it.
//   - Only who holds Log.mu writes; readers take no lock over I/O.
//   - After a failed sync the files are in doubt: the log refuses all writes and
//     never syncs the same descriptor again.
//
// Read next: append.go, checkpoint.go, recover.go; crash_test.go cuts the power
// at every call of the disk.
package store
