package loadgen

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Offence is the place of one violation.
type Offence struct {
	Kind      string `json:"kind"` // lost, duplicated, reordered, corrupted
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // -1 for a lost record
	Producer  uint32 `json:"producer"`
	Seq       uint64 `json:"seq"`
}

// offencesMax bounds the places kept per kind.
const offencesMax = 5

// Verification is what reading everything back showed.
type Verification struct {
	Read       int64 `json:"read"` // records of this run
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
	Corrupted  int64 `json:"corrupted"`
	// Foreign records lie between the run's first and last offset and were written by somebody else.
	Foreign int64 `json:"foreign"`
	// Unacked records were read back although their fate was failed or unknown; that is allowed.
	Unacked  int64     `json:"unacked_present"`
	Offences []Offence `json:"offences,omitempty"`

	kept map[string]int
}

// offend keeps the first places of each kind.
func (v *Verification) offend(o Offence) {
	if v.kept == nil {
		v.kept = map[string]int{}
	}
	if v.kept[o.Kind] < offencesMax {
		v.kept[o.Kind]++
		v.Offences = append(v.Offences, o)
	}
}

// auditor judges records against the producers' ledgers. One goroutine; per partition the records come in offset order.
type auditor struct {
	run     uint64
	ledgers []*ledger
	v       Verification
}

// record judges one record.
func (a *auditor) record(r *kgo.Record) {
	h, verdict := decodeHeader(r.Value, r.Key)
	switch {
	case verdict == foreign, verdict == intact && h.run != a.run:
		a.v.Foreign++
		return
	case verdict == corrupt, int32(h.partition) != r.Partition, int(h.producer) >= len(a.ledgers):
		// Intact but in another partition than it was sent to is as wrong as a flipped bit.
		a.corrupted(r, h)
		return
	}
	p := &a.ledgers[h.producer].parts[h.partition]
	a.v.Read++
	o := Offence{Partition: r.Partition, Offset: r.Offset, Producer: h.producer, Seq: h.seq}
	switch p.see(h.seq) {
	case sightPhantom:
		a.v.Read--
		a.corrupted(r, h)
	case sightDuplicate:
		a.v.Duplicated++
		o.Kind = "duplicated"
		a.v.offend(o)
	case sightReordered:
		a.v.Reordered++
		o.Kind = "reordered"
		a.v.offend(o)
		fallthrough
	default:
		if p.fateOf(h.seq) != fateAcked {
			a.v.Unacked++
		}
	}
}

func (a *auditor) corrupted(r *kgo.Record, h header) {
	a.v.Corrupted++
	a.v.offend(Offence{Kind: "corrupted", Partition: r.Partition, Offset: r.Offset, Producer: h.producer, Seq: h.seq})
}

// finish counts what is missing.
func (a *auditor) finish() *Verification {
	for id, l := range a.ledgers {
		for part := range l.parts {
			a.v.Lost += l.parts[part].lost(offencesMax, func(seq uint64) {
				a.v.offend(Offence{Kind: "lost", Partition: int32(part), Offset: -1, Producer: uint32(id), Seq: seq})
			})
		}
	}
	return &a.v
}

// verify reads the offsets [from, ends) of every partition and judges each record. It blocks until all of them are read; when ctx
// ends before, or a partition cannot be read on, it fails with ErrIncomplete. progress gets the number of offsets read.
//
// The client's own batch checksum stays off: a damaged batch must be counted by the records' checksums, not hidden behind a fetch
// error. A batch so damaged that it does not decode is a fetch error all the same and ends the verification.
func verify(ctx context.Context, cfg *Config, security []kgo.Opt, a *auditor, from, ends []int64, progress func(int64)) (*Verification, error) {
	at := map[int32]kgo.Offset{}
	next := append([]int64(nil), from...)
	for p := range from {
		if from[p] < ends[p] {
			at[int32(p)] = kgo.NewOffset().At(from[p])
		}
	}
	if len(at) == 0 {
		return a.finish(), nil
	}
	cl, err := kgo.NewClient(append(readerOpts(cfg, security, at), kgo.DisableFetchCRCValidation())...)
	if err != nil {
		return nil, fmt.Errorf("%w: verifier: %w", ErrUsage, err)
	}
	defer cl.Close()
	left := len(at)
	for read := int64(0); left > 0; progress(read) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return nil, fmt.Errorf("%w: %d partitions unfinished, next offsets %v of %v: %w", ErrIncomplete, left, next, ends, err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := &next[p.Partition]; *n < ends[p.Partition] {
				*n = a.partition(p.Records, *n, ends[p.Partition])
				if *n >= ends[p.Partition] {
					left--
				}
			}
			read += int64(len(p.Records))
		})
	}
	return a.finish(), nil
}

// partition judges records below end and returns the next offset.
func (a *auditor) partition(records []*kgo.Record, next, end int64) int64 {
	for _, r := range records {
		if r.Offset >= end {
			return end
		}
		next = r.Offset + 1
		if !r.Attrs.IsControl() {
			a.record(r)
		}
	}
	return next
}
