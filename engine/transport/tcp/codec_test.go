package tcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// number is small, large or somewhere between, all often enough.
func number(r *rand.Rand) uint64 { return r.Uint64() >> r.IntN(65) }

func someBytes(r *rand.Rand, max int) []byte {
	n := r.IntN(max)
	if n == 0 {
		return nil // an empty slice arrives as nil
	}
	return bytes.Repeat([]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}, n/3+1)[:n:n]
}

// randomMessage has every field that is sent between nodes, at random.
func randomMessage(r *rand.Rand) raftpb.Message {
	m := raftpb.Message{
		Type: raftpb.MessageType(r.IntN(24)), To: number(r), From: number(r), Term: number(r), LogTerm: number(r),
		Index: number(r), Commit: number(r), Vote: number(r), Reject: r.IntN(2) == 0, RejectHint: number(r),
	}
	if r.IntN(2) == 0 {
		m.Vote, m.RejectHint = 0, 0
	}
	if r.IntN(3) == 0 {
		m.Context = someBytes(r, 64)
	}
	if r.IntN(8) == 0 {
		m.Snapshot = &raftpb.Snapshot{Data: someBytes(r, 5000), Metadata: raftpb.SnapshotMetadata{
			Index: number(r), Term: number(r),
			ConfState: raftpb.ConfState{Voters: []uint64{number(r), 2}, Learners: []uint64{3}, VotersOutgoing: []uint64{4}, LearnersNext: []uint64{5}, AutoLeave: true},
		}}
	}
	if r.IntN(2) == 0 {
		max := []int{2, 100, 3000, 100_000}[r.IntN(4)]
		for i := range r.IntN(8) {
			e := raftpb.Entry{Type: raftpb.EntryType(r.IntN(3)), Term: m.Term, Index: m.Index + uint64(i) + 1, Data: someBytes(r, max)}
			if r.IntN(4) == 0 {
				e.Term, e.Index = number(r), number(r)
			}
			m.Entries = append(m.Entries, e)
		}
	}
	return m
}

// feed reads wire through a slab in pieces of random size, as a connection
// does, and decodes what it finds.
func feed(r *rand.Rand, wire []byte, s *slab, got func([]transport.Envelope)) error {
	var d decoder
	for {
		f, err := s.frame()
		if err != nil {
			return err
		}
		if f != nil {
			if err := d.decode(f); err != nil {
				return err
			}
			if d.kept {
				s.keep()
			}
			got(d.batch)
			continue
		}
		if len(wire) == 0 {
			return nil
		}
		n := copy(s.space(), wire[:min(len(wire), 1+r.IntN(200_000))])
		s.filled(n)
		wire = wire[n:]
	}
}

// TestDecodeIsTheInverse: what is encoded is decoded, whatever is copied into
// the head and however the socket cuts it, and nothing that is handed out
// changes later.
func TestDecodeIsTheInverse(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		var sent, got []transport.Envelope
		for range 1 + r.IntN(200) {
			sent = append(sent, transport.Envelope{Group: ids.GroupID(number(r)), Message: randomMessage(r)})
		}
		wire := encoded([]int{0, inlineBytesMax, inlineAll}[seed%3], sent...)
		s := newSlab(frameBytesMaxMax)
		err := feed(r, wire, &s, func(batch []transport.Envelope) { got = append(got, batch...) })
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(got) != len(sent) {
			t.Fatalf("seed %d: %d of %d messages", seed, len(got), len(sent))
		}
		for i := range sent {
			if !reflect.DeepEqual(got[i], sent[i]) {
				t.Fatalf("seed %d message %d: got %+v, sent %+v", seed, i, got[i], sent[i])
			}
		}
	}
}

// TestEncoderDoesNotCopyData: a large entry leaves as the slice it is.
func TestEncoderDoesNotCopyData(t *testing.T) {
	e := encoder{inlineMax: inlineBytesMax, frameMax: frameBytesMaxMax}
	env := appendOf(1, 1, 3*writeBytesMax/2)
	data := env.Message.Entries[0].Data
	e.pack(itemsOf(one(env)), 0)
	pieces := e.seal()
	if len(pieces) != 3 || &pieces[1][0] != &data[0] || &pieces[2][0] != &data[writeBytesMax] {
		t.Fatalf("%d pieces", len(pieces))
	}
	if len(pieces[0]) > 64 {
		t.Errorf("%d bytes around one entry", len(pieces[0]))
	}
}

// TestFramesStayApart: a frame is about frameBytesTarget unless it has one
// message alone, and has at most frameMessagesMax.
func TestFramesStayApart(t *testing.T) {
	var sent []transport.Envelope
	for i := range uint64(4000) {
		sent = append(sent, heartbeat(1, 2, i))
	}
	for i := range uint64(50) {
		sent = append(sent, appendOf(1, i, []int{100, 20_000, 300_000}[i%3]))
	}
	wire := encoded(inlineBytesMax, sent...)
	for len(wire) > 0 {
		n := int(frameBytes(wire))
		messages := binary.LittleEndian.Uint32(wire[8:])
		if messages > frameMessagesMax || messages > 1 && n > frameBytesTarget+64 {
			t.Fatalf("frame of %d bytes and %d messages", n, messages)
		}
		wire = wire[n:]
	}
}

func TestCompact(t *testing.T) {
	for what, c := range map[string]struct {
		env transport.Envelope
		max int
	}{
		"heartbeat":                   {heartbeat(1000, 3000, 100_000), 16},
		"append of an entry, no data": {appendOf(1000, 100_000, 0), 24},
	} {
		if n := len(encoded(inlineAll, c.env)) - headerBytes; n > c.max {
			t.Errorf("%s: %d bytes, more than %d", what, n, c.max)
		}
	}
}

// TestTooLargeIsNamed: the encoder leaves out what no frame can hold, and
// nothing else.
func TestTooLargeIsNamed(t *testing.T) {
	sent := []transport.Envelope{heartbeat(1, 2, 1), appendOf(2, 1, 200_000), appendOf(3, 1, frameBytesMaxMin-headerBytes-10), heartbeat(4, 2, 2)}
	e := encoder{inlineMax: inlineBytesMax, frameMax: frameBytesMaxMin}
	if n := e.pack(itemsOf(sent), 0); n != len(sent) {
		t.Fatal(n)
	}
	if fmt.Sprint(e.refused) != "[1 2]" {
		t.Fatal(e.refused)
	}
	s := newSlab(frameBytesMaxMin)
	var groups []ids.GroupID
	err := feed(rand.New(rand.NewPCG(1, 1)), bytes.Join(e.seal(), nil), &s, func(batch []transport.Envelope) {
		for i := range batch {
			groups = append(groups, batch[i].Group)
		}
	})
	if err != nil || fmt.Sprint(groups) != "[1 4]" {
		t.Fatal(groups, err)
	}
}

func TestNoFormBetweenNodes(t *testing.T) {
	for _, m := range []raftpb.Message{
		{Responses: make([]raftpb.Message, 1)},
		{Type: 256},
		{Entries: []raftpb.Entry{{Type: 4}}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was encoded", m)
				}
			}()
			encoded(inlineAll, transport.Envelope{Message: m})
		}()
	}
}

// TestDamageIsSeen: a frame with any bit changed is not decoded.
func TestDamageIsSeen(t *testing.T) {
	f := encoded(inlineAll, heartbeat(1, 2, 3), appendOf(2, 9, 50))
	for i := range 8 * len(f) {
		if i/8 >= 4 && i/8 < 8 {
			continue // the length: another frame, or more bytes than there are
		}
		bad := bytes.Clone(f)
		bad[i/8] ^= 1 << (i % 8)
		var d decoder
		if err := d.decode(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
}

// TestHotPathAllocations: nothing to send a batch and to take heartbeats; one
// allocation for the entries of a frame.
func TestHotPathAllocations(t *testing.T) {
	for _, c := range []struct {
		what string
		env  transport.Envelope
		want float64
	}{{"heartbeats", heartbeat(1, 2, 3), 0}, {"appends", appendOf(1, 2, 2000), 1}} {
		var items []item
		for range 20 {
			items = append(items, item{c.env, transport.Size(&c.env.Message)})
		}
		e := encoder{inlineMax: inlineBytesMax, frameMax: frameBytesMaxMax}
		var frame []byte
		send := func() {
			e.pack(items, 0)
			frame = frame[:0]
			for _, p := range e.seal() {
				frame = append(frame, p...)
			}
			e.reset()
		}
		send()
		if n := testing.AllocsPerRun(100, send); n != 0 {
			t.Errorf("%s: %v allocations to encode", c.what, n)
		}
		var d decoder
		take := func() {
			if err := d.decode(frame); err != nil {
				t.Fatal(err)
			}
			d.release()
		}
		take()
		if n := testing.AllocsPerRun(100, take); n != c.want {
			t.Errorf("%s: %v allocations to decode", c.what, n)
		}
	}
}

// FuzzDecode takes any bytes as what follows the checksum and the length of a
// frame: it is decoded or refused without a panic and for memory in proportion,
// and what is decoded is decoded again from its own encoding.
func FuzzDecode(f *testing.F) {
	f.Add(encoded(inlineAll, heartbeat(1, 2, 3))[8:])
	f.Add(encoded(inlineAll, appendOf(1, 2, 30), heartbeat(1, 2, 3))[8:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		frame := resealed(append(make([]byte, 8), b...))
		if len(frame) < headerBytes {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var d decoder
		err := d.decode(frame)
		runtime.ReadMemStats(&after)
		// Growth of the batch doubles at worst.
		if used, max := after.TotalAlloc-before.TotalAlloc, uint64(20*len(frame)+2*frameMessagesMax*200+1<<16); used > max {
			t.Errorf("%d bytes were allocated for a frame of %d", used, len(frame))
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		for i := range d.batch {
			for k := range d.batch[i].Message.Entries {
				if d.batch[i].Message.Entries[k].Type > entryTypeMask {
					t.Fatal("entry type")
				}
			}
		}
		s := newSlab(frameBytesMaxMax)
		var again []transport.Envelope
		err = feed(rand.New(rand.NewPCG(1, 1)), encoded(inlineBytesMax, d.batch...), &s, func(batch []transport.Envelope) { again = append(again, batch...) })
		if err != nil || !reflect.DeepEqual(again, d.batch) {
			t.Fatalf("%v: %+v became %+v", err, d.batch, again)
		}
	})
}

// resealed puts the right length and checksum into a frame.
func resealed(f []byte) []byte {
	if len(f) < headerBytes {
		return f
	}
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-headerBytes))
	binary.LittleEndian.PutUint32(f, crc32.Checksum(f[4:], castagnoli))
	return f
}

// FuzzHello takes any bytes as the begin of a connection.
func FuzzHello(f *testing.F) {
	f.Add(hello{cluster: testCluster, from: 1, to: 2, lane: 1}.append(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, h.append(nil)) {
			t.Fatalf("%x is not %+v", b, h)
		}
		if a, err := readAnswer(bytes.NewReader(b)); err == nil && a.append(nil) == nil {
			t.Fatal("answer")
		}
	})
}

func TestMalformed(t *testing.T) {
	good := encoded(inlineAll, appendOf(1, 2, 30))
	for what, change := range map[string]func(f []byte) []byte{
		"no message":            func(f []byte) []byte { binary.LittleEndian.PutUint32(f[8:], 0); return f[:headerBytes] },
		"too many messages":     func(f []byte) []byte { binary.LittleEndian.PutUint32(f[8:], frameMessagesMax+1); return f },
		"a message less":        func(f []byte) []byte { return f[:len(f)-1] },
		"bytes too many":        func(f []byte) []byte { return append(f, 0) },
		"entries too many":      func(f []byte) []byte { binary.LittleEndian.PutUint32(f[12:], 2); return f },
		"entries beyond reason": func(f []byte) []byte { binary.LittleEndian.PutUint32(f[12:], math.MaxUint32); return f },
		"entries not announced": func(f []byte) []byte { binary.LittleEndian.PutUint32(f[12:], 0); return f },
		"an unknown flag":       func(f []byte) []byte { f[headerBytes+1] |= 0x80; return f },
	} {
		var d decoder
		if err := d.decode(resealed(change(bytes.Clone(good)))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLockstep: what was sent arrives as it was, in order, in frames of the size
// that a connection has, and what is larger than a frame's target stands alone.
func TestLockstep(t *testing.T) {
	l := NewLockstep()
	var sent, got []transport.Envelope
	for i := range 300 {
		sent = append(sent, heartbeat(1, 2, 3), appendOf(ids.GroupID(i+1), 3, 1+700*(i%5)))
	}
	sent = append(sent, appendOf(7, 2, 3*frameBytesTarget))
	for i := 0; i < len(sent); i += 7 {
		l.Send(sent[i:min(i+7, len(sent))])
	}
	if l.Waiting() != len(sent) {
		t.Fatalf("%d messages wait, %d were sent", l.Waiting(), len(sent))
	}
	d, err := l.Deliver(func(batch []transport.Envelope) { got = append(got, batch...) })
	if err != nil || !reflect.DeepEqual(sent, got) {
		t.Fatalf("%v: %d messages became %d", err, len(sent), len(got))
	}
	wire, frames := encoded(inlineAll, sent...), int64(0)
	for b := wire; len(b) > 0; b = b[frameBytes(b):] {
		frames++
	}
	if d.Bytes != int64(len(wire)) || d.Messages != int64(len(sent)) || d.Frames != frames || frames < 2 {
		t.Errorf("delivered %+v, a connection sends %d bytes in %d frames", d, len(wire), frames)
	}
	if d, err := l.Deliver(func([]transport.Envelope) { t.Error("something came again") }); err != nil || d != (Delivered{}) {
		t.Errorf("nothing waits: %+v, %v", d, err)
	}
}
