package kafka

import "encoding/binary"

// dec reads the protocol's primitives from b. After the first value that does
// not fit it stays bad and returns zeros; every count is checked against the
// bytes that are left before anything is allocated or looped over. What it
// returns are slices of b.
type dec struct {
	b   []byte
	bad bool
}

func (d *dec) fail() {
	d.bad = true
	d.b = nil
}

// span takes the next n bytes.
func (d *dec) span(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}

func (d *dec) i8() int8 {
	if s := d.span(1); s != nil {
		return int8(s[0])
	}
	return 0
}

func (d *dec) i16() int16 {
	if s := d.span(2); s != nil {
		return int16(binary.BigEndian.Uint16(s))
	}
	return 0
}

func (d *dec) i32() int32 {
	if s := d.span(4); s != nil {
		return int32(binary.BigEndian.Uint32(s))
	}
	return 0
}

func (d *dec) i64() int64 {
	if s := d.span(8); s != nil {
		return int64(binary.BigEndian.Uint64(s))
	}
	return 0
}

// uvarint reads an unsigned 32-bit varint of at most five bytes.
func (d *dec) uvarint() uint32 {
	var v uint64
	for i := 0; i < 5 && i < len(d.b); i++ {
		c := d.b[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if v > 1<<32-1 {
				break
			}
			d.b = d.b[i+1:]
			return uint32(v)
		}
	}
	d.fail()
	return 0
}

// size reads the length of a string (two bytes) or of an array or byte string
// (four), or its compact form; -1 means null, below -1 is bad.
func (d *dec) size(flexible bool, width int) int {
	var n int
	switch {
	case flexible:
		n = int(d.uvarint()) - 1
	case width == 2:
		n = int(d.i16())
	default:
		n = int(d.i32())
	}
	if d.bad || n < -1 {
		d.fail()
		return 0
	}
	return n
}

// str reads a string; null is bad.
func (d *dec) str(flexible bool) []byte { return d.span(d.size(flexible, 2)) }

// nullable reads a nullable string; null is nil.
func (d *dec) nullable(flexible bool) []byte {
	if n := d.size(flexible, 2); n >= 0 {
		return d.span(n)
	}
	return nil
}

// bytes reads nullable bytes; null is nil.
func (d *dec) bytes(flexible bool) []byte {
	if n := d.size(flexible, 4); n >= 0 {
		return d.span(n)
	}
	return nil
}

// count reads the length of an array whose elements take at least min bytes
// each, so that what follows cannot ask for more memory than it sent bytes
// for; -1 means null.
func (d *dec) count(flexible bool, min int) int {
	n := d.size(flexible, 4)
	if n > 0 && n > len(d.b)/min {
		d.fail()
		return 0
	}
	return n
}

// uuid reads 16 bytes.
func (d *dec) uuid() (id [16]byte) {
	copy(id[:], d.span(16))
	return id
}

// tags skips the tagged fields that end a flexible structure.
func (d *dec) tags(flexible bool) {
	if !flexible {
		return
	}
	n := d.uvarint()
	if int64(n) > int64(len(d.b)/2) { // a tag is two bytes or more
		d.fail()
		return
	}
	for ; n > 0 && !d.bad; n-- {
		d.uvarint()
		d.span(int(d.uvarint()))
	}
}
