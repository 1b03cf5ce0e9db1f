package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"dyno/wal/vfs"
)

const (
	formatName    = "FORMAT"
	lockName      = "LOCK"
	tmpSuffix     = ".tmp"
	formatVersion = 1
	formatBytes   = 40
)

var formatMagic = [8]byte{'d', 'y', 'n', 'o', '-', 'w', 'a', 'l'}

// logID is drawn once per directory. It enters every checksum, so neither a
// segment of another log nor a payload made to look like a record passes.
type logID [16]byte

// The FORMAT file: magic, version u32, 4 zero bytes, log id, 4 zero bytes, and
// the crc32c of all that.
func encodeFormat(id logID) []byte {
	b := make([]byte, formatBytes)
	copy(b, formatMagic[:])
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	copy(b[16:], id[:])
	binary.LittleEndian.PutUint32(b[36:], sum(b[:36]))
	return b
}

func decodeFormat(name string, b []byte) (id logID, err error) {
	if len(b) < 12 || [8]byte(b[:8]) != formatMagic {
		return id, fmt.Errorf("%s is not the mark of a dyno log: %w", name, ErrFormat)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return id, fmt.Errorf("%s says version %d, this program knows %d only: %w", name, v, formatVersion, ErrFormat)
	}
	if len(b) != formatBytes || binary.LittleEndian.Uint32(b[36:]) != sum(b[:36]) {
		return id, &DamageError{File: name, Reason: "checksum of the format mark does not match"}
	}
	copy(id[:], b[16:32])
	return id, nil
}

func readFormat(fsys vfs.FS, dir string) (logID, error) {
	name := path.Join(dir, formatName)
	f, err := fsys.Open(name)
	if err != nil {
		return logID{}, err
	}
	defer f.Close()
	b := make([]byte, formatBytes+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return logID{}, err
	}
	return decodeFormat(name, b[:n])
}

// writeFormat marks dir as a log: durable, or not there at all.
func writeFormat(fsys vfs.FS, dir string) (id logID, err error) {
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	name := path.Join(dir, formatName)
	tmp := name + tmpSuffix
	if err := fsys.RemoveAll(tmp); err != nil {
		return id, err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return id, err
	}
	if _, err = f.WriteAt(encodeFormat(id), 0); err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	return id, err
}

// syncAbove makes the names of dir and of all directories above it durable. It
// runs until the FORMAT mark stands, because whoever made one of them may have
// been cut off before its sync. One that may not be read was not made by us.
func syncAbove(fsys vfs.FS, dir string) error {
	for d := path.Clean(dir); d != path.Dir(d); d = path.Dir(d) {
		if err := fsys.SyncDir(path.Dir(d)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

func segmentName(seq uint64) string { return fmt.Sprintf("%016x.wal", seq) }
func spareName(n uint64) string     { return fmt.Sprintf("spare-%08x", n) }

func parseSegmentName(name string) (uint64, bool) {
	return parseHex(strings.CutSuffix(name, ".wal"))
}

func parseSpareName(name string) (uint64, bool) {
	return parseHex(strings.CutPrefix(name, "spare-"))
}

func parseHex(s string, ok bool) (uint64, bool) {
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil && n > 0
}
