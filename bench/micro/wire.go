package micro

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Positions within a v2 record batch. Source: Kafka's DefaultRecordBatch.
const (
	posLength    = 8
	posCRC       = 17
	posAttrs     = 21
	posLastDelta = 23
	headerBytes  = 61

	lengthOverhead = 12 // bytes in front of what the length field counts
)

// batchOf makes one batch as a producer without idempotence sends it, as of now: the
// retention of the topic would take away what is old.
func batchOf(source *rand.ChaCha8) []byte {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: batchRecords - 1, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: batchRecords}
	for i := range batchRecords {
		r := kmsg.Record{OffsetDelta: int32(i), Value: make([]byte, recordBytes)}
		_, _ = source.Read(r.Value)                // never fails
		r.Length = int32(len(r.AppendTo(nil))) - 1 // a length of 0 takes one byte
		b.Records = r.AppendTo(b.Records)
	}
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[posLength:], uint32(len(out)-lengthOverhead))
	binary.BigEndian.PutUint32(out[posCRC:], crc32.Checksum(out[posAttrs:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// span walks the batches of a fetched piece and returns how many records its whole
// batches hold. They must follow each other from offset on; a last one that was cut
// short is left out.
func span(b []byte, offset int64) (records int64, err error) {
	for len(b) >= headerBytes {
		size := int(binary.BigEndian.Uint32(b[posLength:])) + lengthOverhead
		if size > len(b) {
			break
		}
		if base := int64(binary.BigEndian.Uint64(b)); base != offset+records {
			return 0, fmt.Errorf("a batch begins at offset %d, want %d", base, offset+records)
		}
		records += int64(binary.BigEndian.Uint32(b[posLastDelta:])) + 1
		b = b[size:]
	}
	return records, nil
}

// wire is a connection to a broker that does as little as it can.
type wire struct {
	nc   net.Conn
	r    *bufio.Reader
	form *kmsg.RequestFormatter
	sent int32 // correlation ids given out
	got  int32
	buf  []byte // of the last answer
}

func dial(addr string) (*wire, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{nc: nc, r: bufio.NewReaderSize(nc, 1<<20), form: kmsg.NewRequestFormatter(kmsg.FormatterClientID("dyno-micro"))}, nil
}

func (w *wire) close() { w.nc.Close() }

// frame encodes a request; its correlation id is filled in by send.
func (w *wire) frame(req kmsg.Request) []byte { return w.form.AppendRequest(nil, req, 0) }

// send writes a frame. Requests may be in flight at the same time.
func (w *wire) send(frame []byte) error {
	w.sent++
	binary.BigEndian.PutUint32(frame[8:], uint32(w.sent)) // size, key, version, correlation id
	_, err := w.nc.Write(frame)
	return err
}

// answer reads the answer to the oldest request in flight, without its header. It
// is valid until the next one.
func (w *wire) answer() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return nil, err
	}
	w.got++
	if id := int32(binary.BigEndian.Uint32(head[4:])); id != w.got {
		return nil, fmt.Errorf("an answer to request %d, want one to %d", id, w.got)
	}
	size := int(binary.BigEndian.Uint32(head[:])) - 4
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	w.buf = w.buf[:size]
	_, err := io.ReadFull(w.r, w.buf)
	return w.buf, err
}

// ask sends one request of a version without tagged fields and decodes the answer.
func (w *wire) ask(req kmsg.Request, into kmsg.Response) error {
	if err := w.send(w.frame(req)); err != nil {
		return err
	}
	b, err := w.answer()
	if err != nil {
		return err
	}
	into.SetVersion(req.GetVersion())
	return into.ReadFrom(b)
}
