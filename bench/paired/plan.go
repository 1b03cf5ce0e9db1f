package paired

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"dyno/bench/gate"
)

// Side is one of the two programs of a block.
type Side string

// The sides. In a null block both are linked from the base commit.
const (
	Base Side = "base"
	Head Side = "head"
)

// Stage is what a block is for.
type Stage string

// The stages. A confirmation repeats a finding with blocks of its own, whose coins
// have another seed.
const (
	Main    Stage = "main"
	Confirm Stage = "confirm"
)

// runsPerBlock is how many runs a block has: two of each side.
const runsPerBlock = 4

// Plan is which blocks a comparison may come to run.
type Plan struct {
	Rule  gate.Rule
	Pause time.Duration // at least, between the last main block and the confirmation
}

func (p *Plan) check() error {
	if len(p.Rule.Looks) == 0 || len(p.Rule.Metrics) == 0 {
		return fmt.Errorf("%w: a plan without looks or metrics", gate.ErrRule)
	}
	return nil
}

// Slot is one block of a plan.
type Slot struct {
	Stage  Stage `json:"stage"`
	Number int   `json:"number"` // from 0 within its stage
}

func (s Slot) String() string {
	if s.Stage == Main {
		return fmt.Sprintf("block %d", s.Number+1)
	}
	return fmt.Sprintf("confirmation %d", s.Number+1)
}

// Toss is what chance decides about a block.
type Toss struct {
	Null    bool // base against base, linked anew
	Order   gate.Order
	Layouts map[Side]uint32 // for the linker; above 0, and of no other block
}

// Toss throws the coins of a block, those of package gate for its order. They
// depend on the seed and the slot alone, so a block that is run again has the order
// it had, also where another process goes on.
func (p *Plan) Toss(seed uint64, s Slot) Toss {
	t := Toss{Layouts: map[Side]uint32{}}
	if s.Stage == Main {
		slot := p.Rule.Slot(seed, s.Number)
		t.Null, t.Order = slot.Null, slot.Order
	} else {
		t.Order = gate.Coin(ConfirmSeed(seed), s.Number)
	}
	r := source(seed, fmt.Sprintf("layouts %s %d", s.Stage, s.Number))
	for i, side := range []Side{Base, Head} {
		// The low bits tell blocks and sides apart, whatever chance does above them.
		own := uint32(2*s.Number + i)
		if s.Stage == Confirm {
			own += confirmLayouts
		}
		t.Layouts[side] = (r.Uint32N(layoutDraws)+1)<<layoutBits | own
	}
	return t
}

// A layout is a draw and the number of who has it. BlocksMax keeps the numbers
// within their bits.
const (
	layoutBits     = 11
	layoutDraws    = 1 << 19
	confirmLayouts = 1 << (layoutBits - 1)

	// BlocksMax is how many blocks a stage may have.
	BlocksMax = confirmLayouts / 2
)

// ConfirmSeed is the seed of the coins of a confirmation.
func ConfirmSeed(seed uint64) uint64 { return source(seed, "confirmation").Uint64() }

// ProfileSeed is the seed of the blocks that are profiled after a comparison; never 0.
func ProfileSeed(seed uint64) uint64 { return 1 + source(seed, "profiles").Uint64N(1<<63-1) }

// source is the chance of one purpose: the same for the same seed, unlike any
// other's.
func source(seed uint64, purpose string) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "dyno paired %d %s", seed, purpose))))
}

// side is who runs at a place of the order, from 0.
func (t Toss) side(place int) Side {
	if t.Order[place] == 'A' {
		return Base
	}
	return Head
}
