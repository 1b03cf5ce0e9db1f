package cell

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// pattern makes payloads that cost almost nothing to make, do not compress and
// are known in full to the verifier: one random body per seed, with the number
// of the record stamped into every page of it. So no time of a measured loop
// goes into checksums, and verification compares every byte.
type pattern struct {
	seed uint64
	body []byte
}

const (
	stampBytes  = 16 // number, seed
	patternPage = 4 << 10
)

func newPattern(seed uint64, bytes int) *pattern {
	body := make([]byte, max(bytes, stampBytes))
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 'd', 'y', 'n', 'o'})
	_, _ = r.Read(body) // never fails
	return &pattern{seed: seed, body: body}
}

// stamp makes buf, which holds the body, the record of that number.
func (p *pattern) stamp(buf []byte, number uint64) {
	for at := 0; at+stampBytes <= len(buf); at += patternPage {
		binary.LittleEndian.PutUint64(buf[at:], number)
		binary.LittleEndian.PutUint64(buf[at+8:], p.seed)
	}
}

// record appends the record of that number to buf.
func (p *pattern) record(buf []byte, number uint64) []byte {
	at := len(buf)
	buf = append(buf, p.body...)
	p.stamp(buf[at:], number)
	return buf
}

// number checks every byte of a record and returns its number.
func (p *pattern) number(got []byte) (uint64, error) {
	if len(got) != len(p.body) {
		return 0, fmt.Errorf("a record of %d bytes came back with %d", len(p.body), len(got))
	}
	n := binary.LittleEndian.Uint64(got)
	for at := 0; at < len(got); at += patternPage {
		end := min(at+patternPage, len(got))
		from := at
		if at+stampBytes <= len(got) {
			from = at + stampBytes
			if binary.LittleEndian.Uint64(got[at:]) != n || binary.LittleEndian.Uint64(got[at+8:]) != p.seed {
				return 0, fmt.Errorf("record %d came back with a foreign page at byte %d", n, at)
			}
		}
		if string(got[from:end]) != string(p.body[from:end]) {
			return 0, fmt.Errorf("record %d came back changed after byte %d", n, from)
		}
	}
	return n, nil
}
