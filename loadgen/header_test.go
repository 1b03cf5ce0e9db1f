package loadgen

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.SliceOfN(rapid.Byte(), headerBytes, 300).Draw(rt, "value")
		key := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "key")
		want := header{
			run: rapid.Uint64().Draw(rt, "run"), producer: rapid.Uint32().Draw(rt, "producer"),
			partition: rapid.Uint32().Draw(rt, "partition"), seq: rapid.Uint64().Draw(rt, "seq"), intended: rapid.Int64().Draw(rt, "intended"),
		}
		want.stamp(value, key, bodyCRC(value))
		got, v := decodeHeader(value, key)
		if v != intact || got != want {
			rt.Fatalf("got %+v, verdict %d; want %+v", got, v, want)
		}
		// Any single flipped bit behind the magic shows.
		bit := rapid.IntRange(32, 8*(len(value)+len(key))-1).Draw(rt, "bit")
		if i := bit / 8; i < len(value) {
			value[i] ^= 1 << (bit % 8)
		} else {
			key[i-len(value)] ^= 1 << (bit % 8)
		}
		if _, v := decodeHeader(value, key); v != corrupt {
			rt.Fatalf("flipped bit %d: verdict %d", bit, v)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{}, []byte{})
	value := bytes.Repeat([]byte{7}, 64)
	h := header{run: 1, seq: 2}
	h.stamp(value, []byte("k"), bodyCRC(value))
	f.Add(value, []byte("k"))
	f.Add(value[:headerBytes], []byte(nil))
	f.Add(value[:headerBytes-1], []byte(nil))
	f.Fuzz(func(t *testing.T, value, key []byte) {
		h, v := decodeHeader(value, key)
		if v != intact {
			return
		}
		again := bytes.Clone(value)
		h.stamp(again, key, bodyCRC(again))
		if !bytes.Equal(again, value) {
			t.Fatalf("an intact header does not stamp back: %x, want %x", again, value)
		}
	})
}
