package loadgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Workload is what the records look like.
type Workload struct {
	Size Size
	Keys Keys
	// Compressibility is the share of a body a codec can remove: 0 is incompressible (the default), 0.75 leaves about a quarter.
	Compressibility float64
}

// Size is the distribution of record values, header included, in bytes.
type Size struct {
	Fixed int     // default 1024; 0 with Mean set
	Mean  int     // log-normal with this mean
	Sigma float64 // of the underlying normal; default 0.5
	Max   int     // cut of the log-normal; default 16x the mean
}

// Keys is the distribution of record keys.
type Keys struct {
	Kind  string  // none (default), uniform, zipf, hot
	Count int     // distinct keys; default 100,000
	Skew  float64 // zipf exponent, above 1; default 1.1
	Hot   int     // keys in the hot set; default 1 % of Count
	Share float64 // of the records that go to the hot set; default 0.9
}

const (
	keyBytes     = 16
	keyCountMax  = 1 << 24
	drawsPerRing = 1 << 16 // pre-drawn sizes and keys per producer; the ring repeats after that many records
	bodyCell     = 256     // bytes over which random and constant bytes alternate to meet a compressibility
)

func (w *Workload) setDefaults() {
	if w.Size.Fixed == 0 && w.Size.Mean == 0 {
		w.Size.Fixed = 1024
	}
	if w.Size.Mean > 0 {
		if w.Size.Sigma == 0 {
			w.Size.Sigma = 0.5
		}
		if w.Size.Max == 0 {
			w.Size.Max = 16 * w.Size.Mean
		}
	}
	k := &w.Keys
	if k.Kind == "" {
		k.Kind = "none"
	}
	if k.Count == 0 {
		k.Count = 100_000
	}
	if k.Skew == 0 {
		k.Skew = 1.1
	}
	if k.Hot == 0 {
		k.Hot = max(k.Count/100, 1)
	}
	if k.Share == 0 {
		k.Share = 0.9
	}
}

func (w *Workload) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
	}
	s, k := &w.Size, &w.Keys
	switch {
	case s.Fixed != 0 && s.Mean != 0:
		return bad("size: fixed and log-normal exclude each other")
	case s.min() < headerBytes || s.max() > recordBytesMax:
		return bad("size %s: want %d (the verification header) to %d bytes", s, headerBytes, recordBytesMax)
	case s.Mean > 0 && (s.Mean <= headerBytes || s.Mean > s.Max || !(s.Sigma > 0 && s.Sigma <= 4)):
		return bad("size %s: want a mean of %d to max and a sigma in (0, 4]", s, headerBytes+1)
	case !(w.Compressibility >= 0 && w.Compressibility <= 1):
		return bad("compressibility %v: want 0 to 1", w.Compressibility)
	}
	switch k.Kind {
	case "none", "uniform", "zipf", "hot":
	default:
		return bad("keys %q: want none, uniform, zipf or hot", k.Kind)
	}
	switch {
	case k.Count < 1 || k.Count > keyCountMax:
		return bad("keys: %d distinct, want 1 to %d", k.Count, keyCountMax)
	case k.Kind == "zipf" && !(k.Skew > 1 && k.Skew <= 10):
		return bad("keys: zipf skew %v, want above 1 and at most 10", k.Skew)
	case k.Kind == "hot" && (k.Hot < 1 || k.Hot > k.Count || !(k.Share >= 0 && k.Share <= 1)):
		return bad("keys: hot set of %d of %d with share %v, want 1 to all and 0 to 1", k.Hot, k.Count, k.Share)
	}
	return nil
}

func (s *Size) fixed() bool { return s.Mean == 0 }

func (s *Size) min() int {
	if s.fixed() {
		return s.Fixed
	}
	return headerBytes
}

func (s *Size) max() int {
	if s.fixed() {
		return s.Fixed
	}
	return s.Max
}

func (s *Size) mean() int {
	if s.fixed() {
		return s.Fixed
	}
	return s.Mean
}

// String is the flag's spelling.
func (s *Size) String() string {
	if s.fixed() {
		return strconv.Itoa(s.Fixed)
	}
	return fmt.Sprintf("lognormal:%d:%g:%d", s.Mean, s.Sigma, s.Max)
}

// ParseSize reads 1024 or lognormal:MEAN[:SIGMA[:MAX]].
func ParseSize(text string) (Size, error) {
	bad := fmt.Errorf("%w: size %q: want bytes or lognormal:MEAN[:SIGMA[:MAX]]", ErrUsage, text)
	f := strings.Split(text, ":")
	if len(f) == 1 {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return Size{}, bad
		}
		return Size{Fixed: n}, nil
	}
	if f[0] != "lognormal" || len(f) > 4 {
		return Size{}, bad
	}
	var s Size
	var err error
	if s.Mean, err = strconv.Atoi(f[1]); err != nil || s.Mean <= 0 {
		return Size{}, bad
	}
	if len(f) > 2 {
		if s.Sigma, err = strconv.ParseFloat(f[2], 64); err != nil {
			return Size{}, bad
		}
	}
	if len(f) > 3 {
		if s.Max, err = strconv.Atoi(f[3]); err != nil {
			return Size{}, bad
		}
	}
	return s, nil
}

// ParseKeys reads none, uniform[:COUNT], zipf[:COUNT[:SKEW]] or hot[:COUNT[:HOT[:SHARE]]].
func ParseKeys(text string) (Keys, error) {
	bad := fmt.Errorf("%w: keys %q: want none, uniform[:COUNT], zipf[:COUNT[:SKEW]] or hot[:COUNT[:HOT[:SHARE]]]", ErrUsage, text)
	f := strings.Split(text, ":")
	most := map[string]int{"none": 1, "uniform": 2, "zipf": 3, "hot": 4}[f[0]]
	if most == 0 || len(f) > most {
		return Keys{}, bad
	}
	k := Keys{Kind: f[0]}
	var num [4]float64
	for i, s := range f[1:] {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v < 0 || math.IsNaN(v) || v > keyCountMax {
			return Keys{}, bad
		}
		num[i+1] = v
	}
	k.Count = int(num[1])
	switch k.Kind {
	case "zipf":
		k.Skew = num[2]
	case "hot":
		k.Hot, k.Share = int(num[2]), num[3]
	}
	return k, nil
}

// String is the flag's spelling.
func (k *Keys) String() string {
	switch k.Kind {
	case "uniform":
		return fmt.Sprintf("uniform:%d", k.Count)
	case "zipf":
		return fmt.Sprintf("zipf:%d:%g", k.Count, k.Skew)
	case "hot":
		return fmt.Sprintf("hot:%d:%d:%g", k.Count, k.Hot, k.Share)
	}
	return "none"
}

// draws is one producer's pre-drawn sizes and keys: a ring read by a counter, so a record costs an index, not a distribution.
// Owner: the producer's sender.
type draws struct {
	sizes []int32 // nil when fixed
	keys  []int32 // nil without keys
	at    uint32
}

func newDraws(w *Workload, seed, producer uint64) *draws {
	rng := rand.New(rand.NewPCG(seed, 0xd1b54a32d192ed03^producer))
	d := &draws{}
	if !w.Size.fixed() {
		d.sizes = make([]int32, drawsPerRing)
		// A log-normal has mean exp(mu + sigma²/2).
		mu := math.Log(float64(w.Size.Mean)) - w.Size.Sigma*w.Size.Sigma/2
		for i := range d.sizes {
			v := math.Exp(mu + w.Size.Sigma*rng.NormFloat64())
			d.sizes[i] = int32(min(max(int(v), headerBytes), w.Size.Max))
		}
	}
	if w.Keys.Kind == "none" {
		return d
	}
	d.keys = make([]int32, drawsPerRing)
	draw := keyDraw(&w.Keys, rng)
	for i := range d.keys {
		d.keys[i] = int32(draw())
	}
	return d
}

func keyDraw(k *Keys, rng *rand.Rand) func() int {
	switch k.Kind {
	case "zipf":
		z := rand.NewZipf(rng, k.Skew, 1, uint64(k.Count-1))
		return func() int { return int(z.Uint64()) }
	case "hot":
		return func() int {
			if rng.Float64() < k.Share || k.Hot == k.Count {
				return rng.IntN(k.Hot)
			}
			return k.Hot + rng.IntN(k.Count-k.Hot)
		}
	}
	return func() int { return rng.IntN(k.Count) }
}

// next is the size and key of the next record; key is -1 without keys, size 0 where it is fixed.
func (d *draws) next() (size, key int32) {
	key = -1
	if d.keys != nil {
		key = d.keys[d.at%drawsPerRing]
	}
	if d.sizes != nil {
		size = d.sizes[d.at%drawsPerRing]
	}
	d.at++
	return size, key
}

// putKey writes key id as 16 characters, so that keys stay readable in other tools.
func putKey(dst []byte, id int32) {
	copy(dst, "key-000000000000")
	for i := keyBytes - 1; id > 0; i-- {
		dst[i] = byte('0' + id%10)
		id /= 10
	}
}

// keyPartition maps a key to its partition: a multiplicative hash, the same for every producer and run.
func keyPartition(id int32, partitions int) int32 {
	h := (uint64(id) + 1) * 0x9e3779b97f4a7c15
	return int32((h >> 32) % uint64(partitions))
}

// fillBody fills a value past its header: in each cell of 256 bytes the first share is random, the rest one byte.
func fillBody(value []byte, compressibility float64, rng *rand.ChaCha8) {
	random := int(math.Round((1 - compressibility) * bodyCell))
	for off := headerBytes; off < len(value); off += bodyCell {
		cell := value[off:min(off+bodyCell, len(value))]
		cut := min(random, len(cell))
		_, _ = rng.Read(cell[:cut]) // ChaCha8's Read never fails
		for i := range cell[cut:] {
			cell[cut+i] = 'd'
		}
	}
}
