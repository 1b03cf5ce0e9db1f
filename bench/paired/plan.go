package paired

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
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

// The stages. A confirmation repeats a finding with blocks of its own; a null
// block compares base with itself linked anew.
const (
	Main    Stage = "main"
	Null    Stage = "null"
	Confirm Stage = "confirm"
)

// runsPerBlock is how many runs a block has: two of each side.
const runsPerBlock = 4

// The orders of a block, as four letters: A is base, B is head. Either cancels a
// drift that is linear over the block.
const (
	orderABBA = "ABBA"
	orderBAAB = "BAAB"
)

// Plan is which blocks a comparison may come to run.
type Plan struct {
	Looks   []int         // numbers of main blocks, ascending, after which the judge is asked
	Nulls   int           // null blocks, mixed into those before the first look
	Confirm int           // blocks of a confirmation
	Pause   time.Duration // at least, between the last main block and the confirmation
	Metrics []string      // what each good run measures
}

func (p *Plan) check() error {
	last := 0
	for _, n := range p.Looks {
		if n <= last {
			return fmt.Errorf("looks %v: want ascending numbers of blocks from 1", p.Looks)
		}
		last = n
	}
	if last == 0 || p.Nulls < 0 || p.Confirm < 0 || len(p.Metrics) == 0 {
		return fmt.Errorf("a plan of looks %v, %d nulls, %d confirmations and %d metrics", p.Looks, p.Nulls, p.Confirm, len(p.Metrics))
	}
	return nil
}

// Slot is one block of a plan.
type Slot struct {
	Stage Stage `json:"stage"`
	Block int   `json:"block"` // from 1 within its stage
}

func (s Slot) String() string {
	if s.Stage == Main {
		return fmt.Sprintf("block %d", s.Block)
	}
	return fmt.Sprintf("%s block %d", s.Stage, s.Block)
}

// Toss is what chance decides about a block.
type Toss struct {
	Order   string          // orderABBA or orderBAAB
	Layouts map[Side]uint32 // for the linker; never 0, never equal
}

// source is the chance of one purpose: the same for the same seed, unlike any
// other's.
func source(seed uint64, purpose string) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "dyno paired %d %s", seed, purpose))))
}

// layoutMax bounds what is given to the linker, which takes any integer above 0.
const layoutMax = 1 << 30

// TossOf throws the coins of a block. They depend on the seed and the slot alone,
// so a block that is run again has the order it had, and one that another run of
// the program goes on with, too.
func TossOf(seed uint64, s Slot) Toss {
	r := source(seed, fmt.Sprintf("toss %s %d", s.Stage, s.Block))
	t := Toss{Order: orderABBA, Layouts: map[Side]uint32{}}
	if r.IntN(2) == 1 {
		t.Order = orderBAAB
	}
	t.Layouts[Base] = r.Uint32N(layoutMax) + 1
	t.Layouts[Head] = r.Uint32N(layoutMax) + 1
	for t.Layouts[Head] == t.Layouts[Base] {
		t.Layouts[Head] = r.Uint32N(layoutMax) + 1
	}
	return t
}

// side is who runs at a place of the order, from 0.
func (t Toss) side(place int) Side {
	if t.Order[place] == 'A' {
		return Base
	}
	return Head
}

// sequence lists main and null blocks in the order they run: the nulls at places
// that chance gives them before the first look.
func (p *Plan) sequence(seed uint64) []Slot {
	first := p.Looks[0]
	kinds := []byte(strings.Repeat("m", first) + strings.Repeat("n", p.Nulls))
	r := source(seed, "sequence")
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var slots []Slot
	count := map[Stage]int{}
	add := func(s Stage) { count[s]++; slots = append(slots, Slot{s, count[s]}) }
	for _, k := range kinds {
		if k == 'n' {
			add(Null)
		} else {
			add(Main)
		}
	}
	for range p.Looks[len(p.Looks)-1] - first {
		add(Main)
	}
	return slots
}
