package grpctransport

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc/mem"
	"pgregory.net/rapid"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// form is one way to encode.
type form struct {
	name   string
	encode func(batch []transport.Envelope) mem.BufferSlice
	decode func(data mem.BufferSlice) ([]transport.Envelope, error)
}

func forms() []form {
	p := &packer{pool: &scratch{}}
	u := &unpacker{}
	return []form{
		{"packed", p.pack, func(data mem.BufferSlice) ([]transport.Envelope, error) {
			err := u.unpack(data)
			return u.batch, err
		}},
		{"stock", func(batch []transport.Envelope) mem.BufferSlice {
			bufs, err := marshalStock(batch)
			if err != nil {
				panic(err)
			}
			return bufs
		}, func(data mem.BufferSlice) ([]transport.Envelope, error) { return unmarshalStock(nil, data) }},
	}
}

// cut copies data into buffers of the given lengths, as a network would.
func cut(data []byte, lengths func(left int) int) (bufs mem.BufferSlice) {
	for len(data) > 0 {
		n := lengths(len(data))
		bufs = append(bufs, mem.SliceBuffer(append([]byte(nil), data[:n]...)))
		data = data[n:]
	}
	return bufs
}

func genNumber(t *rapid.T) uint64 {
	return rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 300), rapid.Uint64()).Draw(t, "number")
}

// genBytes makes nil, empty, short and, for some, long bytes.
func genBytes(t *rapid.T, longest int) []byte {
	switch n := rapid.IntRange(-1, longest).Draw(t, "length"); {
	case n < 0:
		return nil
	default:
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 7)
		}
		return b
	}
}

func genMessage(t *rapid.T) raftpb.Message {
	m := raftpb.Message{
		Type: raftpb.MessageType(rapid.IntRange(0, int(messageTypeMax)).Draw(t, "type")),
		To:   genNumber(t), From: genNumber(t), Term: genNumber(t), LogTerm: genNumber(t), Index: genNumber(t),
		Commit: genNumber(t), Vote: genNumber(t), RejectHint: genNumber(t),
		Reject: rapid.Bool().Draw(t, "reject"), Context: genBytes(t, 20),
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "entries") {
		e := raftpb.Entry{
			Type: raftpb.EntryType(rapid.IntRange(0, 2).Draw(t, "entry type")),
			Term: m.Term, Index: m.Index + 1 + uint64(i), Data: genBytes(t, 2*gatherBytes),
		}
		if rapid.Bool().Draw(t, "odd") {
			e.Term, e.Index = genNumber(t), genNumber(t)
		}
		m.Entries = append(m.Entries, e)
	}
	if rapid.IntRange(0, 3).Draw(t, "snapshot") == 0 {
		m.Snapshot = &raftpb.Snapshot{Data: genBytes(t, 2*gatherBytes), Metadata: raftpb.SnapshotMetadata{
			Index: genNumber(t), Term: genNumber(t),
			ConfState: raftpb.ConfState{Voters: []uint64{1, genNumber(t)}, AutoLeave: rapid.Bool().Draw(t, "leave")},
		}}
	}
	return m
}

// TestRoundTrip: what is decoded is what was encoded, however the network cuts
// it, within the bound, and with memory of its own.
func TestRoundTrip(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var batch []transport.Envelope
				bound := headBytes
				for range rapid.IntRange(0, 5).Draw(t, "envelopes") {
					batch = append(batch, transport.Envelope{Group: ids.GroupID(genNumber(t)), Message: genMessage(t)})
					bound += wireBound(&batch[len(batch)-1].Message)
				}
				bufs := f.encode(batch)
				data := bufs.Materialize()
				bufs.Free()
				if len(data) > bound {
					t.Fatalf("%d bytes, the bound is %d", len(data), bound)
				}
				wire := cut(data, func(left int) int { return rapid.IntRange(1, left).Draw(t, "cut") })
				got, err := f.decode(wire)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range wire {
					clear(b.ReadOnlyData())
				}
				if len(got) != len(batch) || len(got) > 0 && !reflect.DeepEqual(got, batch) {
					t.Fatalf("got %+v\nwant %+v", got, batch)
				}
			})
		})
	}
}

func TestMalformed(t *testing.T) {
	packed, stock := forms()[0], forms()[1]
	batch := entryBatch(100)
	batch[0].Message.Context = []byte("context")
	for _, f := range []form{packed, stock} {
		whole := f.encode(batch).Materialize()
		for n := 1; n < len(whole); n++ {
			if _, err := f.decode(cut(whole[:n], func(left int) int { return left })); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %d of %d bytes: %v", f.name, n, len(whole), err)
			}
		}
	}
	head := func(header ...byte) []byte { return append([]byte{byte(len(header)), 0, 0, 0}, header...) }
	for name, data := range map[string][]byte{
		"header beyond the end":     {200, 0, 0, 0, 1},
		"header of 4 GiB":           {255, 255, 255, 255, 1},
		"bytes after the end":       {0, 0, 0, 0, 1},
		"unknown type":              head(1, byte(messageTypeMax)+1, 0, 0),
		"unknown flag":              head(1, 8, 16, 0),
		"varint without end":        head(0xff, 0xff),
		"no entries":                head(1, 3, hasEntries, 0, 0),
		"more entries than bytes":   head(1, 3, hasEntries, 0, 100, 0),
		"unknown kind of entry":     head(1, 3, hasEntries, 0, 1, 1<<5),
		"unknown type of entry":     head(1, 3, hasEntries, 0, 1, 3),
		"data that is not there":    head(1, 3, hasEntries, 0, 1, hasData, 5),
		"context that is not there": head(1, 8, hasContext, 0, 5),
		"snapshot without metadata": head(1, 7, hasSnapshot, 0, 9),
		"metadata that is not":      head(1, 7, hasSnapshot, 0, 1, 0xff, 0),
		"lengths that overlap":      append(head(1, 3, hasEntries, 0, 2, hasData, 3, hasData, 3), 1, 2, 3, 4),
	} {
		if _, err := packed.decode(cut(data, func(left int) int { return left })); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLimits: neither form reads more envelopes than the other side may send.
func TestLimits(t *testing.T) {
	batch := make([]transport.Envelope, envelopesMax+1)
	for _, f := range forms() {
		if _, err := f.decode(f.encode(batch[:envelopesMax])); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if _, err := f.decode(f.encode(batch)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	entries := make([]raftpb.Entry, entriesMax+1)
	many := []transport.Envelope{{Message: raftpb.Message{Type: raftpb.MsgApp, Entries: entries}}}
	if _, err := forms()[0].decode(forms()[0].encode(many)); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	cfg := Config{MessageBytesMax: 1 << 30, FrameBytes: 1 << 30}
	if n := cfg.frame(many); n != 0 {
		t.Errorf("a message of %d entries is sent", len(entries))
	}
	if n := cfg.frame(batch); n != envelopesMax {
		t.Errorf("%d envelopes in one message", n)
	}
}

func TestFrame(t *testing.T) {
	cfg := Config{MessageBytesMax: 10_000, FrameBytes: 3_000}
	for _, c := range []struct {
		sizes []int
		want  int
	}{
		{[]int{500, 500, 500, 500}, 4},
		{[]int{500, 500, 2500}, 2},
		{[]int{5000, 1}, 1},
		{[]int{9_796, 1}, 1},
		{[]int{9_797, 1}, 0},
	} {
		var batch []transport.Envelope
		for _, size := range c.sizes {
			batch = append(batch, entryBatch(size)...)
		}
		if got := cfg.frame(batch); got != c.want {
			t.Errorf("%v: %d in the first message, want %d", c.sizes, got, c.want)
		}
	}
}

// TestAllocs: the header of a frame and the blobs of an envelope are all that is
// allocated.
func TestAllocs(t *testing.T) {
	control := make([]transport.Envelope, 64)
	for i := range control {
		control[i] = transport.Envelope{Group: 7, Message: raftpb.Message{Type: raftpb.MsgAppResp, From: 1, To: 2, Term: 3, Index: 4}}
	}
	for name, c := range map[string]struct {
		batch        []transport.Envelope
		pack, unpack float64
	}{
		"control": {control, 1, 0},               // the list of buffers
		"entry":   {entryBatch(64 << 10), 2, 2},  // the list and a buffer; the entry and its data
		"short":   {entryBatch(1 << 10), 1.1, 2}, // now and then a block for the pool
	} {
		f := forms()[0]
		data := f.encode(c.batch)
		if _, err := f.decode(data); err != nil {
			t.Fatal(err)
		}
		if got := testing.AllocsPerRun(200, func() { f.encode(c.batch).Free() }); got > c.pack && !raceEnabled {
			t.Errorf("%s: packing allocates %v times", name, got)
		}
		if got := testing.AllocsPerRun(200, func() { _, _ = f.decode(data) }); got > c.unpack {
			t.Errorf("%s: unpacking allocates %v times", name, got)
		}
	}
}

// TestCheck: what is not for other nodes is our bug, and malformed from others.
func TestCheck(t *testing.T) {
	from, _, _ := pair(t, nil)
	from.Start(newHeard())
	stock := forms()[1]
	for name, m := range map[string]raftpb.Message{
		"responses":  {Responses: []raftpb.Message{{}}},
		"type":       {Type: messageTypeMax + 1},
		"entry type": {Entries: []raftpb.Entry{{Type: 3}}},
	} {
		batch := []transport.Envelope{{Message: m}}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: sent", name)
				}
			}()
			from.Send(2, transport.Control, batch)
		}()
		if _, err := stock.decode(stock.encode(batch)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: received: %v", name, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, size := range []int{0, 10, gatherBytes} {
		batch := entryBatch(size)
		batch = append(batch, transport.Envelope{Group: 1 << 40, Message: raftpb.Message{
			Type: raftpb.MsgSnap, Context: []byte("c"),
			Snapshot: &raftpb.Snapshot{Data: []byte("state"), Metadata: raftpb.SnapshotMetadata{Index: 3, Term: 2}},
		}})
		for _, form := range forms() {
			f.Add(form.encode(batch).Materialize(), uint8(7))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		size := func(left int) int { return min(left, 1+int(piece)) }
		for _, form := range forms() {
			got, err := form.decode(cut(data, size))
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s: %v", form.name, err)
				}
				continue
			}
			want := slices.Clone(got) // got is used again
			again, err := form.decode(form.encode(want))
			if err != nil || len(want) > 0 && !reflect.DeepEqual(again, want) {
				t.Fatalf("%s: %v\ngot %+v\nwant %+v", form.name, err, again, want)
			}
		}
	})
}
