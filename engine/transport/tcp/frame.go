package tcp

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	// headerBytes: crc u32, bytes that follow u32, messages u32, entries u32.
	headerBytes = 16
	// frameBytesTarget is where a frame ends when another message waits. A
	// larger frame has one message alone, so that what one group keeps does not
	// hold another group's megabytes.
	frameBytesTarget = 64 << 10
	// frameMessagesMax bounds what a reader has to make of a frame.
	frameMessagesMax = 1024
	// messageBytesMin and entryBytesMin are the least a message and an entry
	// take: counts that do not fit into a frame are refused before memory is
	// made for them.
	messageBytesMin = 9
	entryBytesMin   = 4
)

// What a message has besides its numbers.
const (
	flagReject = 1 << iota
	flagRare   // vote or reject hint
	flagContext
	flagSnapshot
	flagEntries
	flagsAll = 1<<iota - 1
)

// The word of an entry: its type, whether term and index follow, its length.
const (
	entryTypeMask    = 1<<2 - 1
	entryOther       = 1 << 2
	entryLengthShift = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameBytes is the size of the frame whose header b begins with.
func frameBytes(header []byte) int64 {
	return headerBytes + int64(binary.LittleEndian.Uint32(header[4:]))
}
