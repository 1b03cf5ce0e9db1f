package partition

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// twin is the dumb double of a Partition: it keeps all entries and computes
// every answer from them anew.
type twin struct {
	entries []replica.Entry // committed; entries[i] has index i+1
	stamped []*twinStamp
	moved   int // so many entries are in L1
	term    ids.Term
	leading bool
	limits  Config
}

// twinStamp is what was stamped and not applied.
type twinStamp struct {
	pr     *replica.Proposal
	in     BatchInfo
	parked []*Append
}

// twinProducer is what the entries say of a producer: all its applied batches.
type twinProducer struct {
	batches []twinBatch
	wrote   int // entry number of the last
	seen    int64
	ticked  bool
}

type twinBatch struct {
	in   BatchInfo
	base ids.Offset
}

// twinState is what all entries amount to.
type twinState struct {
	producers  map[ids.ProducerID]*twinProducer
	clock      int64
	start, end ids.Offset
	epochs     []epochStart
}

func (w *twin) replay() twinState {
	s := twinState{producers: map[ids.ProducerID]*twinProducer{}}
	for i, e := range w.entries {
		if n := len(s.epochs); n == 0 || e.Term.Epoch() > s.epochs[n-1].epoch {
			s.epochs = slices.DeleteFunc(s.epochs, func(x epochStart) bool { return x.start >= s.end })
			s.epochs = append(s.epochs, epochStart{e.Term.Epoch(), s.end})
		}
		switch {
		case len(e.Data) == 0:
		case isCommand(e.Data):
			c, _ := parseCommand(e.Data)
			s.command(c, w.limits.ProducerExpiryMS)
		default:
			in := readInfo(e.Data)
			s.batch(i, in, w.limits.ProducersMax)
			s.end += ids.Offset(in.Records)
		}
	}
	return s
}

func (s *twinState) command(c command, expiry int64) {
	if c.kind == kindLogStart {
		s.start = max(s.start, min(ids.Offset(c.value), s.end))
		return
	}
	s.clock = max(s.clock, c.value)
	for id, p := range s.producers {
		if !p.ticked {
			p.ticked, p.seen = true, s.clock
		}
		if s.clock-p.seen >= expiry {
			delete(s.producers, id)
		}
	}
}

func (s *twinState) batch(i int, in BatchInfo, limit int) {
	if in.ProducerID < 0 {
		return
	}
	p := s.producers[in.ProducerID]
	if p == nil {
		p = &twinProducer{}
		s.producers[in.ProducerID] = p
	}
	p.batches = append(p.batches, twinBatch{in, s.end})
	p.wrote, p.ticked = i, false
	if len(s.producers) > limit {
		oldest := in.ProducerID
		for id, q := range s.producers {
			if q.wrote < s.producers[oldest].wrote {
				oldest = id
			}
		}
		delete(s.producers, oldest)
	}
}

// decide says what Stamp must do with a batch: an error, the stamped batch it
// repeats, or the applied one.
func (w *twin) decide(s *twinState, in BatchInfo) (again *twinBatch, pendant *twinStamp, err error) {
	var all []BatchInfo
	var applied []twinBatch
	if p := s.producers[in.ProducerID]; p != nil {
		applied = p.batches
		for _, b := range applied {
			all = append(all, b.in)
		}
	}
	for _, st := range w.stamped {
		if len(st.pr.Data) > logStartBytesOfTest && st.in.ProducerID == in.ProducerID {
			all = append(all, st.in)
		}
	}
	if in.ProducerID < 0 || len(all) == 0 {
		return nil, nil, nil
	}
	last := all[len(all)-1]
	switch {
	case in.ProducerEpoch < last.ProducerEpoch:
		return nil, nil, ErrProducerFenced
	case in.ProducerEpoch > last.ProducerEpoch && in.BaseSequence != 0:
		return nil, nil, ErrOutOfOrderSequence
	case in.ProducerEpoch > last.ProducerEpoch:
		return nil, nil, nil
	}
	next := (int64(last.BaseSequence) + int64(last.Records)) % (1 << 31)
	if int64(in.BaseSequence) == next {
		return nil, nil, nil
	}
	same := func(o BatchInfo) bool {
		return o.ProducerEpoch == in.ProducerEpoch && o.BaseSequence == in.BaseSequence && o.Records == in.Records
	}
	for _, st := range slices.Backward(w.stamped) {
		if st.in.ProducerID == in.ProducerID && same(st.in) {
			return nil, st, nil
		}
	}
	for i := len(applied) - 1; i >= max(0, len(applied)-5); i-- {
		if applied[i].in.ProducerEpoch != last.ProducerEpoch {
			break
		}
		if same(applied[i].in) {
			return &applied[i], nil, nil
		}
	}
	return nil, nil, ErrOutOfOrderSequence
}

// logStartBytesOfTest is longer than any command and shorter than any batch.
const logStartBytesOfTest = 20

// End, ReadOffset, ByTime and MaxTime make the twin a Cold.
func (w *twin) End() (ids.LogIndex, ids.Offset) {
	end := ids.Offset(0)
	for _, b := range w.batches(0, w.moved) {
		end = endOffset(b)
	}
	return ids.LogIndex(w.moved), end
}

func (w *twin) Start() ids.Offset { return 0 }

func (w *twin) batches(from, to int) (out [][]byte) {
	for _, e := range w.entries[from:to] {
		if len(e.Data) > 0 && !isCommand(e.Data) {
			out = append(out, e.Data)
		}
	}
	return out
}

func (w *twin) ReadOffset(offset ids.Offset, maxBytes int, one bool) (out [][]byte, _ error) {
	for _, b := range w.batches(0, w.moved) {
		if endOffset(b) <= offset {
			continue
		}
		if maxBytes -= len(b); maxBytes < 0 && !(one && len(out) == 0) {
			break
		}
		out = append(out, b)
	}
	return out, nil
}

func (w *twin) ByTime(ms int64, from ids.Offset) ([]byte, error) {
	for _, b := range w.batches(0, w.moved) {
		if endOffset(b) > from && readInfo(b).MaxTimestampMS >= ms {
			return b, nil
		}
	}
	return nil, nil
}

func (w *twin) MaxTime(from ids.Offset) (best []byte, _ error) {
	for _, b := range w.batches(0, w.moved) {
		if endOffset(b) > from && (best == nil || readInfo(b).MaxTimestampMS > readInfo(best).MaxTimestampMS) {
			best = b
		}
	}
	return best, nil
}

// hotTwin is the log above what was moved.
type hotTwin struct{ w *twin }

func (h hotTwin) Read(lo, hi ids.LogIndex, maxBytes int64) (out []replica.Entry, _ error) {
	if int(lo) <= h.w.moved {
		return nil, replica.ErrCompacted
	}
	for _, e := range h.w.entries[lo-1 : hi-1] {
		if maxBytes -= int64(len(e.Data)); maxBytes < 0 && len(out) > 0 {
			break
		}
		out = append(out, e)
	}
	return out, nil
}

// pair runs both side by side.
type pair struct {
	*twin
	p          *Partition
	rt         *rapid.T
	checkpoint []byte // the state kept with what was moved
}

func (r *pair) open(state []byte) {
	c := r.limits
	c.Cold, c.State = r.twin, state
	p, err := New(c)
	if err != nil {
		r.rt.Fatal(err)
	}
	p.Attach(hotTwin{r.twin})
	r.p = p
	if n := r.moved; n < len(r.entries) {
		r.apply(r.entries[n:])
	}
}

func (r *pair) apply(es []replica.Entry) {
	if err := r.p.Apply(es); err != nil {
		r.rt.Fatal(err)
	}
}

// commit adds entries to the log and applies them.
func (r *pair) commit(es ...replica.Entry) {
	n := len(r.entries)
	for _, e := range es {
		e.Index = ids.LogIndex(len(r.entries) + 1)
		r.entries = append(r.entries, e)
	}
	r.apply(r.entries[n:])
}

// draw makes a batch: mostly in sequence or a repetition, sometimes wild.
func (r *pair) draw(s *twinState) shape {
	rt := r.rt
	if rapid.IntRange(0, 4).Draw(rt, "plain") == 0 {
		return r.times(plain(rapid.IntRange(1, 3).Draw(rt, "records")))
	}
	id := ids.ProducerID(rapid.IntRange(0, 4).Draw(rt, "producer"))
	var known []BatchInfo
	if p := s.producers[id]; p != nil {
		for _, b := range p.batches {
			known = append(known, b.in)
		}
	}
	for _, st := range r.stamped {
		if st.in.ProducerID == id && st.in.Records > 0 {
			known = append(known, st.in)
		}
	}
	n := rapid.IntRange(1, 3).Draw(rt, "records")
	if len(known) == 0 {
		return r.times(idem(id, int16(rapid.IntRange(0, 2).Draw(rt, "epoch")), rapid.SampledFrom([]int32{0, 0, 7, 1<<31 - 2}).Draw(rt, "seq"), n))
	}
	last := known[len(known)-1]
	switch rapid.IntRange(0, 11).Draw(rt, "how") {
	case 0, 1, 2, 3:
		old := rapid.SampledFrom(known).Draw(rt, "old")
		return r.times(idem(id, old.ProducerEpoch, old.BaseSequence, int(old.Records)))
	case 4:
		return r.times(idem(id, last.ProducerEpoch+1, rapid.SampledFrom([]int32{0, 0, 1}).Draw(rt, "seq"), n))
	case 5:
		return r.times(idem(id, int16(rapid.IntRange(0, 3).Draw(rt, "epoch")), rapid.SampledFrom([]int32{0, 1, 2, 5}).Draw(rt, "seq"), n))
	default:
		next := int32((int64(last.BaseSequence) + int64(last.Records)) % (1 << 31))
		return r.times(idem(id, last.ProducerEpoch, next, n))
	}
}

func (r *pair) times(s shape) shape {
	for i := range s.recs {
		s.recs[i].ms = int64(rapid.IntRange(0, 60).Draw(r.rt, "ms"))
	}
	return s
}

func (r *pair) stamp() {
	s := r.replay()
	a := newAppend(r.rt, r.draw(&s).encode())
	again, pendant, want := r.decide(&s, a.Batch)
	end := r.p.Offsets().LogEnd
	err := answered(a, r.p.Stamp(r.term, 0, &a.Proposal))
	told := a.Reply.(*outcome).told
	switch {
	case !r.leading:
		want = replica.ErrNotLeader
	case again != nil:
		want = replica.ErrParked
		if told != 1 || a.Base != again.base || a.Err != nil {
			r.rt.Fatalf("duplicate told %d times, base %d, want %d", told, a.Base, again.base)
		}
		told = 0
	case pendant != nil:
		want = replica.ErrParked
		pendant.parked = append(pendant.parked, a)
	case want == nil:
		if a.Base != end || baseOffset(a.Data) != end || leaderEpoch(a.Data) != r.term.Epoch() {
			r.rt.Fatalf("stamped at %d, want %d", a.Base, end)
		}
		r.stamped = append(r.stamped, &twinStamp{pr: &a.Proposal, in: a.Batch})
	}
	if !errors.Is(err, want) || err == nil && want != nil || told != 0 {
		r.rt.Fatalf("stamp %+v: %v, want %v; told %d", a.Batch, err, want, told)
	}
}

func (r *pair) stampCommand(data []byte) {
	pr := &replica.Proposal{Data: data}
	if err := r.p.Stamp(r.term, 0, pr); err != nil {
		if r.leading {
			r.rt.Fatal(err)
		}
		return
	}
	r.stamped = append(r.stamped, &twinStamp{pr: pr, in: BatchInfo{ProducerID: ids.NoProducer}})
}

// answered checks the parked duplicates of stamps that came to an end.
func (r *pair) answered(sts []*twinStamp, want error) {
	for _, st := range sts {
		for _, a := range st.parked {
			if a.Reply.(*outcome).told != 1 || !errors.Is(a.Err, want) || want == nil && (a.Err != nil || a.Base != baseOffset(st.pr.Data)) {
				r.rt.Fatalf("parked duplicate told %d times: base %d, %v", a.Reply.(*outcome).told, a.Base, a.Err)
			}
		}
	}
}

// ops are the moves of the game. Names that differ in their number are the same
// move: rapid draws each name as often as any other.
func (r *pair) ops() map[string]func(*rapid.T) {
	ops := map[string]func(*rapid.T){"rare": r.rare, "commit1": r.commitSome, "commit2": r.commitSome}
	for i := range 5 {
		ops[fmt.Sprint("stamp", i)] = func(*rapid.T) { r.stamp() }
	}
	ops[""] = func(*rapid.T) { r.check() }
	return ops
}

func (r *pair) commitSome(rt *rapid.T) {
	n := rapid.IntRange(0, len(r.stamped)).Draw(rt, "n")
	var es []replica.Entry
	for _, st := range r.stamped[:n] {
		es = append(es, replica.Entry{Term: r.term, Data: st.pr.Data})
	}
	done := r.stamped[:n]
	r.stamped = r.stamped[n:]
	r.commit(es...)
	r.answered(done, nil)
}

func (r *pair) rare(rt *rapid.T) {
	switch rapid.IntRange(0, 6).Draw(rt, "rare") {
	case 0:
		r.stampCommand(ClockCommand(rapid.Int64Range(0, 500).Draw(rt, "clock")))
	case 1:
		r.stampCommand(LogStartCommand(ids.Offset(rapid.Int64Range(0, int64(r.replay().end)).Draw(rt, "start"))))
	case 2, 3:
		n := rapid.IntRange(0, len(r.stamped)).Draw(rt, "n")
		r.p.Unstamp(n)
		gone := r.stamped[len(r.stamped)-n:]
		r.stamped = r.stamped[:len(r.stamped)-n]
		r.answered(gone, replica.ErrDropped)
	case 4:
		r.election(rapid.IntRange(0, len(r.stamped)).Draw(rt, "survive"))
	case 5:
		r.moved = rapid.IntRange(r.moved, len(r.entries)).Draw(rt, "to")
		r.checkpoint = r.p.State()
		r.p.Moved(ids.LogIndex(r.moved))
	case 6:
		r.restart()
	}
}

// restart opens the partition from the last checkpoint, which is at or behind
// what was applied, and lets it lead again.
func (r *pair) restart() {
	lost := r.stamped
	r.p.Follow()
	r.answered(lost, replica.ErrNotLeader)
	r.stamped = nil
	r.open(r.checkpoint)
	r.election(0)
}

// election ends the leadership; of what was stamped the first survive entries
// are committed all the same, by the next leader, which may be this one.
func (r *pair) election(survive int) {
	lost := r.stamped
	r.stamped = nil
	r.p.Follow()
	r.answered(lost, replica.ErrNotLeader)
	var es []replica.Entry
	for _, st := range lost[:survive] {
		es = append(es, replica.Entry{Term: r.term, Data: st.pr.Data})
	}
	r.term++
	r.commit(append(es, replica.Entry{Term: r.term})...)
	r.leading = rapid.IntRange(0, 4).Draw(r.rt, "elected") > 0
	if r.leading {
		r.p.Lead(r.term)
	}
}

func (r *pair) check() {
	s := r.replay()
	logEnd := s.end
	for _, st := range r.stamped {
		logEnd += ids.Offset(st.in.Records)
	}
	if got, want := r.p.Offsets(), (Offsets{s.start, s.end, s.end, logEnd}); got != want {
		r.rt.Fatalf("offsets %+v, want %+v", got, want)
	}
	r.checkState()
	r.checkRead(&s)
	r.checkTimes(&s)
	r.checkEpochs(&s, logEnd)
	if n := r.p.Stats().Producers; n != len(s.producers) {
		r.rt.Fatalf("%d producers, want %d", n, len(s.producers))
	}
}

// checkState compares with a replica that only ever applied.
func (r *pair) checkState() {
	clean, err := New(r.limits)
	if err == nil {
		err = clean.Apply(r.entries)
	}
	if err != nil {
		r.rt.Fatal(err)
	}
	if !bytes.Equal(clean.State(), r.p.State()) {
		r.rt.Fatalf("state\n%x\nwant\n%x", r.p.State(), clean.State())
	}
}

func (r *pair) checkRead(s *twinState) {
	at := ids.Offset(rapid.Int64Range(-1, int64(s.end)+1).Draw(r.rt, "read"))
	maxBytes, one := rapid.IntRange(0, 600).Draw(r.rt, "maxBytes"), rapid.Bool().Draw(r.rt, "one")
	res, err := r.p.Read(ReadArgs{Offset: at, MaxBytes: maxBytes, One: one})
	if at < s.start || at > s.end {
		if !errors.Is(err, ErrOffsetOutOfRange) {
			r.rt.Fatalf("read %d of [%d, %d): %v", at, s.start, s.end, err)
		}
		return
	}
	var want [][]byte
	left := maxBytes
	for _, b := range r.batches(0, len(r.entries)) {
		if endOffset(b) <= at {
			continue
		}
		if left -= len(b); left < 0 && !(one && len(want) == 0) {
			break
		}
		want = append(want, b)
	}
	if err != nil || fmt.Sprintf("%x", res.Batches) != fmt.Sprintf("%x", want) {
		r.rt.Fatalf("read %d, %d bytes, one %v: %d batches, want %d, %v", at, maxBytes, one, len(res.Batches), len(want), err)
	}
}

func (r *pair) checkTimes(s *twinState) {
	ms := int64(rapid.IntRange(-1, 61).Draw(r.rt, "by time"))
	first, largest := noOffset, noOffset
	for _, b := range r.batches(0, len(r.entries)) {
		if err := scanTimes(b, func(o ids.Offset, at int64) bool {
			if o >= s.start && at >= ms && first.Offset < 0 {
				first = TimedOffset{o, at, leaderEpoch(b)}
			}
			if o >= s.start && at > largest.TimestampMS {
				largest = TimedOffset{o, at, leaderEpoch(b)}
			}
			return true
		}); err != nil {
			r.rt.Fatal(err)
		}
	}
	if got, err := r.p.ByTime(ms); err != nil || got != first {
		r.rt.Fatalf("by time %d: %+v, want %+v, %v", ms, got, first, err)
	}
	got, err := r.p.MaxTime()
	if err != nil || got != largest {
		r.rt.Fatalf("max time: %+v, want %+v, %v", got, largest, err)
	}
}

// checkEpochs asks for every epoch and compares with the offset at which the
// next one that has records, or the latest, begins.
func (r *pair) checkEpochs(s *twinState, logEnd ids.Offset) {
	for e := ids.LeaderEpoch(-1); e <= r.term.Epoch()+1; e++ {
		want := EpochEnd{-1, -1}
		latest := s.epochs[len(s.epochs)-1]
		switch {
		case e < 0 || e > latest.epoch:
		case e == latest.epoch:
			want = EpochEnd{e, logEnd}
		default:
			want = r.epochEnd(s, e)
		}
		if got := r.p.EpochEnd(e); got != want {
			r.rt.Fatalf("epoch %d of %+v from %d: %+v, want %+v", e, s.epochs, s.start, got, want)
		}
	}
}

// epochEnd is for an epoch below the latest.
func (r *pair) epochEnd(s *twinState, e ids.LeaderEpoch) EpochEnd {
	// What the log start cut off is gone from the table, but the epoch that
	// holds the log start.
	table := slices.Clone(s.epochs)
	for len(table) > 1 && table[1].start <= s.start {
		table = table[1:]
	}
	table[0].start = max(table[0].start, s.start)
	out := EpochEnd{e, table[0].start}
	for i, x := range table {
		if x.epoch <= e {
			out = EpochEnd{x.epoch, table[i+1].start}
		}
	}
	return out
}

// TestTwin plays random stamps, drops, elections, applies, moves to L1 and
// restarts against the twin.
func TestTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := &pair{rt: rt, twin: &twin{limits: Config{ProducersMax: 3, ProducerExpiryMS: 200}}}
		r.open(nil)
		r.term++
		r.commit(replica.Entry{Term: r.term})
		r.leading = true
		r.p.Lead(r.term)
		rt.Repeat(r.ops())
	})
}
