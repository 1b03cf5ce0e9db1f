package natspeer

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestStampComesBack(t *testing.T) {
	for _, size := range []int{stampBytes, stampBytes + 1, 1024} {
		data := make([]byte, size)
		_, _ = newBodies(1, 2).Read(data)
		want := stamp{seed: 1, publisher: 2, stream: 3, number: 1 << 40, body: bodyCRC(data)}
		want.put(data)
		got, err := readStamp(data, size)
		if err != nil || got != want {
			t.Errorf("%+v came back as %+v: %v", want, got, err)
		}
		for i := range data {
			data[i] ^= 0x10
			if _, err := readStamp(data, size); err == nil {
				t.Errorf("a change of byte %d of %d was not seen", i, size)
			}
			data[i] ^= 0x10
		}
		if _, err := readStamp(data[:size-1], size); err == nil {
			t.Error("a short message was taken")
		}
	}
}

func TestLedger(t *testing.T) {
	var l ledger
	want := map[uint64]uint32{0: 5, 1: 9, ledgerChunk - 1: 7, 3*ledgerChunk + 2: 1}
	for n, seq := range want {
		l.put(n, seq)
	}
	got := map[uint64]uint32{}
	l.each(func(n uint64, seq uint32) { got[n] = seq })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if at := l.at(2); at == nil || *at != 0 {
		t.Errorf("number 2 is at %v", at)
	}
	if l.at(ledgerChunk) != nil || l.at(9*ledgerChunk) != nil {
		t.Error("a chunk was made by asking")
	}
}

func TestBitset(t *testing.T) {
	var b bitset
	for _, n := range []uint64{0, 63, 64, 1000} {
		if !b.add(n) || b.add(n) {
			t.Errorf("%d", n)
		}
	}
}

func TestPool(t *testing.T) {
	slots := make([]slot, 3)
	p := newPool(slots)
	for range slots {
		if p.pop() == nil {
			t.Fatal("a free slot was not given")
		}
	}
	if p.pop() != nil {
		t.Fatal("a slot from nowhere")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.wait(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range slots {
			p.push(&slots[i])
		}
	})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := p.wait(ctx, 3); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if len(p.wake) != 0 || p.need != 0 {
		t.Errorf("a wake-up is left over: %d, %d", len(p.wake), p.need)
	}
}

// audit is a load of two publishers on two streams that sent and got
// acknowledged numbers 0 to 5, in turn to both streams.
func audit(t *testing.T) (a *auditor, data func(publisher, stream int, number uint64) []byte) {
	t.Helper()
	cfg := Config{Dir: "d", Streams: 2, Publishers: 1, SizeBytes: 64, Pending: 4}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	a = &auditor{load: newLoad(&cfg, subjects(2))}
	p := a.load.publishers[0]
	for n := range uint64(6) {
		p.ledger.put(n, uint32(n/2)+1)
	}
	return a, func(publisher, stream int, number uint64) []byte {
		msg := make([]byte, 64)
		st := stamp{seed: 1, publisher: uint32(publisher), stream: uint32(stream), number: number, body: bodyCRC(msg)}
		st.put(msg)
		return msg
	}
}

// The verifier tells every way in which a message can come back wrong.
func TestAuditorTells(t *testing.T) {
	type back struct {
		publisher, stream int
		number, seq       uint64
		damage            bool
	}
	whole := []back{{number: 0, seq: 1}, {number: 2, seq: 2}, {number: 4, seq: 3}}
	for name, c := range map[string]struct {
		back []back
		want Verification
	}{
		"good":      {whole, Verification{Read: 3}},
		"lost":      {whole[:2], Verification{Read: 2, Lost: 1}},
		"damaged":   {append(whole[:2:2], back{number: 4, seq: 3, damage: true}), Verification{Read: 3, Corrupted: 1, Lost: 1}},
		"foreign":   {append(whole[:3:3], back{publisher: 7, number: 4, seq: 4}), Verification{Read: 4, Corrupted: 1}},
		"stream":    {append(whole[:3:3], back{stream: 1, number: 5, seq: 4}), Verification{Read: 4, Corrupted: 1}},
		"twice":     {append(whole[:3:3], back{number: 2, seq: 4}), Verification{Read: 4, Duplicated: 1}},
		"unasked":   {append(whole[:3:3], back{number: 6, seq: 4}), Verification{Read: 4}},
		"order":     {[]back{whole[1], whole[0], whole[2]}, Verification{Read: 3, Reordered: 1}},
		"misplaced": {append(whole[:2:2], back{number: 4, seq: 9}), Verification{Read: 3, Misplaced: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a, data := audit(t)
			order, seen := make([]uint64, 1), make([]bitset, 1)
			for _, b := range c.back {
				msg := data(b.publisher, b.stream, b.number)
				if b.damage {
					msg[40]++
				}
				a.take(0, msg, b.seq, order, seen)
			}
			a.countLost(func(number uint64) bool { return number%2 == 0 })
			if a.v != c.want {
				t.Errorf("%+v, want %+v", a.v, c.want)
			}
			bad := c.want.Lost+c.want.Corrupted+c.want.Misplaced > 0
			if got := a.v.violation(6); (got != "") != bad {
				t.Errorf("violation %q", got)
			}
		})
	}
}

func TestViolationNamesAll(t *testing.T) {
	v := Verification{Missing: 1, Repeated: 2, Foreign: 3, Lost: 4, Corrupted: 5, Misplaced: 6, Duplicated: 7, Reordered: 8}
	got := v.violation(99)
	for _, want := range []string{"1 missing", "2 acknowledged", "3 stored", "4 lost", "5 corrupted", "6 misplaced", "of 99"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
	if strings.Contains(got, "duplicated") || strings.Contains(got, "reordered") {
		t.Errorf("%q: the peer does not promise that", got)
	}
}
