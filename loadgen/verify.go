package loadgen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Offence is the place of one violation.
type Offence struct {
	Kind      string `json:"kind"` // lost, duplicated, reordered, corrupted, refused, misplaced
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // -1 for a lost record
	Producer  uint32 `json:"producer"`
	Seq       uint64 `json:"seq"`
}

// offencesMax bounds the places kept per kind.
const offencesMax = 5

// Verification is what reading everything back showed.
type Verification struct {
	Read       int64 `json:"read"` // good records of this run; of a Read, of any load
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
	Corrupted  int64 `json:"corrupted"`
	// Refused records were read back although an answer had refused them.
	Refused int64 `json:"refused_present"`
	// Misplaced records were read at another offset than their acknowledgement named; one record in 64 is compared.
	Misplaced int64 `json:"misplaced"`
	// Undecodable partitions end in a batch that no client can decode (counted in Corrupted too, once); what follows it was not read
	// and, where acknowledged, counts as lost.
	Undecodable int64 `json:"undecodable"`
	// Foreign records lie between the run's first and last offset and were written by somebody else; in a topic this run made
	// itself, a record that no load generator wrote counts as corrupted instead.
	Foreign int64 `json:"foreign"`
	// Unacked records were read back although their fate was unknown; that is allowed.
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
	made    bool // this run made the topic: what is not a load generator's is damaged
	ledgers []*ledger
	v       Verification
}

// record judges one record.
func (a *auditor) record(r *kgo.Record) {
	h, verdict := decodeHeader(r.Value, r.Key)
	switch {
	case verdict == foreign && a.made:
		a.corrupted(r, h)
		return
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
		a.acked(p, o)
	}
}

// acked compares a record's first sighting with what its answer said.
func (a *auditor) acked(p *partitionLedger, o Offence) {
	switch p.fateOf(o.Seq) {
	case fateFailed:
		a.v.Refused++
		o.Kind = "refused"
		a.v.offend(o)
	case fateAcked:
		if p.misplaced(o.Seq, o.Offset) {
			a.v.Misplaced++
			o.Kind = "misplaced"
			a.v.offend(o)
		}
	default:
		a.v.Unacked++
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
// error. A batch so damaged that it does not decode is a fetch error all the same: no client gets past it, so it counts as corrupted,
// its partition ends there and the acknowledged records from there on are lost.
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
		damaged, err := undecodable(cfg.Topic, fetches)
		if err != nil {
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
		for _, p := range damaged {
			if next[p] < ends[p] {
				a.undecodable(p, next[p])
				next[p] = ends[p]
				left--
			}
			cl.PauseFetchPartitions(map[string][]int32{cfg.Topic: {p}})
		}
	}
	return a.finish(), nil
}

// undecodable lists the partitions whose fetch the client got and could not decode; any other error is returned.
func undecodable(topic string, fetches kgo.Fetches) (damaged []int32, err error) {
	fetches.EachError(func(t string, p int32, e error) {
		var answered *kerr.Error
		var loss *kgo.ErrDataLoss
		var network net.Error
		if t != topic || p < 0 || errors.As(e, &answered) || errors.As(e, &loss) || errors.As(e, &network) ||
			errors.Is(e, context.Canceled) || errors.Is(e, context.DeadlineExceeded) || errors.Is(e, kgo.ErrClientClosed) ||
			errors.Is(e, io.EOF) {
			err = cmp.Or(err, e)
			return
		}
		damaged = append(damaged, p)
	})
	return damaged, err
}

// undecodable books a batch that does not decode, at the offset that was asked for.
func (a *auditor) undecodable(partition int32, offset int64) {
	a.v.Undecodable++
	a.v.Corrupted++
	a.v.offend(Offence{Kind: "corrupted", Partition: partition, Offset: offset})
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
