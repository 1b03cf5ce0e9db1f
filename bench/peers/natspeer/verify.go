package natspeer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"dyno/loadgen"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	readStallMax = 30 * time.Second // reading back goes on somehow, or is the end of it
	pullMessages = 4096
	pullBytes    = 8 << 20
	// The first request to a new consumer is lost now and then (seen; it seems
	// for want of a route to it yet). The reader asks anew after two missing
	// heartbeats; as shipped that takes half a minute.
	pullHeartbeat = time.Second
	pullExpiry    = 10 * time.Second
)

// auditor compares the streams with the ledgers after the load. Streams are read
// in parallel; what they share is guarded by mu.
type auditor struct {
	load *load
	js   jetstream.JetStream

	mu   sync.Mutex
	v    Verification // guarded by mu
	held []uint64     // last sequence by stream, as counts found it
}

// counts holds what each stream says it has against what was acknowledged and
// sent: acknowledged <= held <= sent, and the last sequence is not before the
// last acknowledged one. An answer that names a place which another has named
// hides a lost message.
func (a *auditor) counts(ctx context.Context) error {
	cfg := a.load.f.cfg
	acked, last := make([]int64, cfg.Streams), make([]uint64, cfg.Streams)
	places := make([]bitset, cfg.Streams)
	for _, p := range a.load.publishers {
		p.rec.mu.Lock()
		p.ledger.each(func(number uint64, seq uint32) {
			s := p.streams[number%uint64(len(p.streams))]
			acked[s]++
			last[s] = max(last[s], uint64(seq))
			if !places[s].add(uint64(seq)) {
				a.v.Repeated++
			}
		})
		p.rec.mu.Unlock()
	}
	for i := range cfg.Streams {
		info, err := streamInfo(ctx, a.js, i)
		if err != nil {
			return err
		}
		held := int64(info.State.Msgs)
		a.v.Stored += held
		a.v.Missing += max(0, acked[i]-held, int64(last[i])-int64(info.State.LastSeq))
		a.held = append(a.held, info.State.LastSeq)
	}
	a.v.Foreign = max(0, a.v.Stored-a.load.sent())
	return nil
}

// readAll reads every stream to the end counts found.
func (a *auditor) readAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(readStallMax, func() { cancel(fmt.Errorf("nothing was read for %v", readStallMax)) })
	defer stall.Stop()
	errs := make([]error, len(a.held))
	var wg sync.WaitGroup
	for i := range a.held {
		wg.Go(func() {
			if errs[i] = a.readStream(ctx, i, stall); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("read the streams back: %w", context.Cause(ctx))
	}
	a.countLost(func(uint64) bool { return true })
	return nil
}

// countLost counts what was acknowledged, is among the numbers in question, and
// did not come back.
func (a *auditor) countLost(among func(number uint64) bool) {
	for _, p := range a.load.publishers {
		p.ledger.each(func(number uint64, seq uint32) {
			if seq != found && among(number) {
				a.v.Lost++
			}
		})
	}
}

// readStream reads stream i from its first message to the last one counts found.
func (a *auditor) readStream(ctx context.Context, i int, stall *time.Timer) error {
	end := a.held[i]
	if end == 0 {
		return nil
	}
	cons, err := a.js.OrderedConsumer(ctx, streamName(i), jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("stream %s: %w", streamName(i), err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes),
		jetstream.PullHeartbeat(pullHeartbeat), jetstream.PullExpiry(pullExpiry))
	if err != nil {
		return fmt.Errorf("stream %s: %w", streamName(i), err)
	}
	defer it.Stop()
	order := make([]uint64, len(a.load.publishers)) // by publisher: the last number read, plus 1
	seen := make([]bitset, len(a.load.publishers))
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("stream %s: %w", streamName(i), err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("stream %s: %w", streamName(i), err)
		}
		stall.Reset(readStallMax)
		a.take(i, m.Data(), meta.Sequence.Stream, order, seen)
		if meta.Sequence.Stream >= end {
			return nil
		}
	}
}

// take judges one message that came back. A publisher's numbers in one stream
// are its own residue class, so order and seen need no lock; the ledgers are
// shared by streams, but each place in one is a single stream's.
func (a *auditor) take(stream int, data []byte, seq uint64, order []uint64, seen []bitset) {
	st, err := readStamp(data, a.load.f.cfg.SizeBytes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.v.Read++
	if err != nil || st.seed != a.load.f.cfg.Seed || int(st.publisher) >= len(a.load.publishers) || int(st.stream) != stream {
		a.v.Corrupted++
		return
	}
	p := a.load.publishers[st.publisher]
	switch {
	case !seen[st.publisher].add(st.number / uint64(len(p.streams))):
		a.v.Duplicated++
		return
	case order[st.publisher] > st.number:
		a.v.Reordered++
	}
	order[st.publisher] = max(order[st.publisher], st.number+1)
	at := p.ledger.at(st.number)
	if at == nil || *at == 0 { // never acknowledged: present or absent, both are right
		return
	}
	if uint64(*at) != seq {
		a.v.Misplaced++
	}
	*at = found
}

// progress tells how far reading back is, until it is stopped. It joins its goroutine.
func (a *auditor) progress(report func(loadgen.Progress)) (stop func()) {
	if report == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		begun, tick := time.Now(), time.NewTicker(collectEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.mu.Lock()
				read, of := a.v.Read, a.v.Stored
				a.mu.Unlock()
				report(loadgen.Progress{Phase: "verify", Elapsed: time.Since(begun), Sent: of, Acked: read})
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}

// verify checks the run as far as it was asked to.
func verify(ctx context.Context, l *load, js jetstream.JetStream) (Verification, error) {
	a := &auditor{load: l, js: js}
	a.v.Mode = l.f.cfg.Verify
	if err := a.counts(ctx); err != nil {
		return a.v, fmt.Errorf("verify: %w", err)
	}
	if l.f.cfg.Verify != VerifyRead {
		return a.v, nil
	}
	stop := a.progress(l.f.cfg.Progress)
	defer stop()
	if err := a.readAll(ctx); err != nil {
		return a.v, fmt.Errorf("verify: %w", err)
	}
	return a.v, nil
}

// violation says what was violated, "" if nothing was. A message whose fate the
// client never learned may be there or not. Without message ids the peer does not
// promise that a message is stored once and in order, so those are counted only.
func (v *Verification) violation(acked int64) string {
	var words []string
	for _, c := range []struct {
		n    int64
		what string
	}{{v.Missing, "missing"}, {v.Repeated, "acknowledged at another's place"}, {v.Foreign, "stored and never sent"}, {v.Lost, "lost"},
		{v.Corrupted, "corrupted"}, {v.Misplaced, "misplaced"}} {
		if c.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, ", ") + fmt.Sprintf(" of %d acknowledged", acked)
}
