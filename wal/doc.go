// Package wal is one log on disk that many streams share: records of any number
// of streams go into one sequence of segments, and one fdatasync makes all of
// them durable that arrived while the one before it ran.
//
// It does not know what a stream is (a Raft group, here), what an entry means,
// or which entries may be given up. It does not retry, repair or replicate, and
// it does not cut atomic units larger than a record.
//
// # The caller's duties, in order
//
//  1. Open. On ErrCorrupt (a *DamageError) do not start: what was durable is not
//     there, and only other copies can mend it. On ErrFormat do not touch it.
//  2. Submit, from any goroutine. Treat an Append as done when Done(nil) came,
//     not before; after Done(err) with ErrFailed its outcome is unknown.
//  3. Watch Failed and Full. After Failed stop everything that relies on the log.
//     While Full submit only what may use the reserve (Append.Reserve).
//  4. Keep Size in bounds: for the segment that Oldest names, cut
//     (KindTruncateBefore) or copy (Rewrite) every run, then Release it. Who
//     needs its entries for that reads them through an Image.
//  5. Close, after the last Read.
//
// # Goroutines
//
// The flusher (flusher.go) is the only writer of segments, of the index and of
// the list of segments. The pool (pool.go) makes segments before they are needed.
// Log owns both; Close waits for both.
//
// # The directory
//
//	FORMAT                 magic "dyno-wal", version u32, 4 zero bytes, log id
//	                       (16 random bytes), 4 zero bytes, crc32c of all that
//	LOCK                   flock: one process at a time
//	0000000000000001.wal   segment 1: the name is the sequence number in hex
//	spare-00000001         written from end to end once; becomes a segment
//	*.tmp                  under way; removed by Open
//
// A segment is a file of SegmentBytes, zero-filled once and then used over and
// over: renamed from spare to segment, overwritten in place, renamed back. So a
// commit writes data and flushes the disk's cache, and touches no metadata of
// the file system. A file comes with the bytes of its older uses.
//
// # Records
//
// All integers are little endian. Each record begins at a multiple of 8:
//
//	 0  u32  crc32c of this header; see below
//	 4  u32  bytes of payload
//	 8  u32  crc32c of the payload, 0 for none
//	12  u8   kind
//	13  u8   type: the caller's byte of an entry
//	14  u16  0
//	16  u64  stream
//	24  u64  index
//	32  u64  term
//	40  u64  sequence number of the segment
//	48       payload, then zeros to the next multiple of 8
//
// The header's checksum starts from crc32c(log id, sequence number), and is taken
// while bytes 0..3 hold position/8. So a record counts at one place of one use of
// one file of one log and nowhere else: neither stale bytes, nor a segment under
// another's name, nor a payload that was made to look like records.
//
//	kind                 index         term        payload
//	 1  entry            its index     its term    Data
//	 2  state            commit index  term        vote u64
//	 3  truncate-after   last kept
//	 4  truncate-before  first kept    of the one before it
//	 5  remove
//	16  moved            its index     its term    Data: a copy of an entry that stands
//	32  flush            see below
//
// A moved record changes where an entry lies and nothing else. It is written only
// if the entry stands at that point of the log, so replay needs no test for that;
// and because the segment that held the original may be gone, replay accepts it
// with a hole before it, and looks for holes at the end.
//
// # Frames
//
// What goes to the disk together is a frame: a flush record, then the records. It may
// go in several writes side by side, so before its sync any part of it may be there.
//
//	index, term   the promise: all before byte index of segment term was durable
//	              before this frame was written
//	payload  0 u64  oldest segment that counts
//	         8 u64, 16 u64  segment and byte where the log before this segment
//	                        ends (first frame of a segment, else 0)
//	        24 u32  bytes of the records that follow
//	        28 u32  flags: 1 = the log was closed after this frame
//
// The frame's bytes are followed by zeros to the end of the 4 KiB page, which the
// next frame overwrites; unless Options.Buffered is set, a frame's write begins at
// the page its first byte lies in and repeats, unchanged, what that page holds.
//
// A frame without records is a mere promise: written when the log has been idle
// for 2 ms (it confirms the frame before it; not synced), when a segment is
// released, and at Close. The last 160 bytes of a segment are kept free for two.
//
// # Invariants
//
//	I1  A frame is written after all before the byte it promises was synced.
//	I2  A segment's name is durable before its first byte is written.
//	I3  The first frame of a segment is written after the one before is synced to
//	    its end. So "where the log before ends" is a promise as well.
//	I4  Done(nil) of an Append with Sync is called after a sync that began when
//	    its records were written, and in order of submission.
//	I5  Bytes that were promised are never changed while their segment counts (a
//	    write may repeat them).
//	I6  A segment's file is reused only after a synced frame said that the segment
//	    does not count, and after its last reader left.
//	I7  Sequence numbers grow and are never used twice, not even for a segment
//	    that no record ever reached.
//	I8  At most one goroutine writes, frame after frame: the bytes of one in any order,
//	    all of them before its sync and before the next one.
//
// What is assumed of the disk: fdatasync means it; a sector of 512 bytes is
// written whole or not at all; writing a sector does not harm its neighbours.
// Nothing is assumed of the order in which unsynced sectors or names survive.
//
// # Recovery
//
//	tail := the last segment whose first frame holds
//	end  := the first byte of it where no record stands that holds
//	if a flush record that holds, beyond end or in a later segment, promises a
//	   place beyond end: damage
//	from tail back to oldest, by what the first frames say: each segment must be
//	   there and hold, record by record, up to the byte where it is said to end;
//	   else: damage
//	apply the records, oldest segment first; no entry of a stream may be
//	   missing in the end; sync the tail; go on in a new segment, or, after a clean end,
//	   behind it
//
// Why nothing acknowledged is lost. Let a be acknowledged, in segment s up to
// byte b. By I4 the bytes up to b, and by I3 all segments before, are durable;
// by I2 so is the name. If s is the tail, the scan reaches b: every record up to
// there holds. If a later segment t is the tail, its first frame was written, so
// by I3 and I1 the chain back from t names s and an end at or beyond b. If s does
// not count any more, I6 says that a frame said so, durably, before its file was
// touched, and Release had made the index point elsewhere and copied states and
// boundaries, durably, before that frame (two syncs: in one frame the statement
// could survive a tear and the copies not).
//
// Why a torn tail is told from damage. What a power cut can take was written
// after the last sync began. Let p be the end of what was synced. All frames
// written since promise at most p (I1), so whatever subset of them survives, in
// whatever order, none promises more; the scan, which cannot stop before p,
// stops at end >= p: no frame promises a place beyond end, hence a tear. Conversely
// if a byte before p is bad and any frame written after the sync of p survives,
// it promises p, beyond end: damage.
//
// What cannot be told: if the last frame that was synced is bad, and no later
// frame survives, that is a tear to every reader. It takes damage within 2 ms of
// the frame's sync and before the next frame, or damage to the confirming promise
// as well. Likewise if all files behind the last synced byte are lost.
//
// Why nothing comes back. Records of an older use of a file carry another
// sequence number (I7), and so another checksum. Records of a torn frame of this
// use: the log never goes on in a segment behind whose end something may lie. It
// goes on in a new one, whose first frame says where the torn one ends, and every
// later recovery stops there. After a clean end nothing lies, and the log goes on
// behind it, but only after a frame that takes the clean end back was synced: if
// the next frame is torn, the end is not clean any more. A file that a lost rename brings back under an
// old name is below oldest, or not in the chain, or behind the tail with no
// first frame that holds. Streams that were removed, and entries that were cut,
// are dead by a later record; that record can only be released after the segment
// it cuts, because segments are released oldest first.
//
// # Failure
//
// After a failed write or fdatasync nobody knows what is on the disk, and the
// kernel forgets the error with the first report. So the log ends: one sticky
// error for all that waits and all that comes, nothing tried again. A full disk
// is met when a spare is made and ends nothing: Append without Reserve is refused
// (ErrDiskFull) when only one segment is left, and the pool tries once a second.
//
// # What it costs
//
// Per record 48 bytes and up to 7 of padding, per frame 80 bytes and the rest of
// a page; 8 bytes of memory per live entry and about 300 per stream. See
// BenchmarkGroupCommit and BenchmarkRecovery.
//
// Read next: flusher.go (the loop), lay.go (a record's way into a frame), index.go,
// recover.go, and crash_test.go, which cuts the power at every call.
package wal
