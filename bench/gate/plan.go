package gate

import "math/rand/v2"

// Order is the order of the four runs of a block, A for base, B for head or, in a
// null block, for base linked once more. Either order cancels a linear drift.
type Order string

const (
	ABBA Order = "ABBA"
	BAAB Order = "BAAB"
)

// Streams of one seed, so that the null blocks tell nothing about the coins.
const (
	coinStream = 1
	nullStream = 2
)

// Slot is what the block with one number has to be.
type Slot struct {
	Null  bool
	Order Order
}

// Coin is throw number, from 0, of the coin with a seed: the order of a block. The
// seed comes from outside, is logged before the first run, and serves one run of
// the gate, or one confirmation.
func Coin(seed uint64, number int) Order {
	coin := rand.New(rand.NewPCG(seed, coinStream))
	for range number {
		coin.Uint64()
	}
	if coin.Uint64()>>63 == 0 {
		return ABBA
	}
	return BAAB
}

// Slot is what block number, from 0, of a run with this seed has to be. The null
// blocks lie somewhere among the blocks of the first look, so they and what they
// judge see the same machine.
func (r Rule) Slot(seed uint64, number int) Slot {
	s := Slot{Order: Coin(seed, number)}
	first := r.Slots(r.Looks[0])
	if number < first {
		draw := rand.New(rand.NewPCG(seed, nullStream))
		for _, at := range draw.Perm(first)[:r.Nulls] {
			s.Null = s.Null || at == number
		}
	}
	return s
}

// Slots is how many blocks are measured, null blocks included, until the look at so
// many compared ones.
func (r Rule) Slots(look int) int { return look + r.Nulls }

// NextLook is the look that so many measured blocks, null blocks included, lead to: the
// first that has as many or more, or the last.
func (r Rule) NextLook(slots int) int {
	for _, n := range r.Looks {
		if slots <= r.Slots(n) {
			return n
		}
	}
	return r.Looks[len(r.Looks)-1]
}

// RedoMost is how many blocks may be set aside for so many that count; with more the
// machine is not fit.
func (r Rule) RedoMost(blocks int) int { return int(r.RedoShare * float64(blocks)) }
