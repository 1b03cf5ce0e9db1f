package natspeer

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fakeJS takes messages in place of a connection: reply decides what becomes of each.
type fakeJS struct {
	jetstream.JetStream
	publish func(m *nats.Msg) error
}

func (f *fakeJS) PublishMsgAsync(m *nats.Msg, _ ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	return nil, f.publish(m)
}

// harness is a load whose answers come from a goroutine of its own, as the
// library's do. Close it when the load has ended.
type harness struct {
	*load
	answers chan func() // capacity: everything in flight; sender: the fake; closed by close
	wg      sync.WaitGroup
	seq     []uint64 // last sequence by stream; owner: the answering goroutine
}

func newHarness(t *testing.T, cfg Config, fate func(n uint64) error) *harness {
	t.Helper()
	cfg.Dir = "d"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	h := &harness{load: newLoad(&cfg, subjects(cfg.Streams)), answers: make(chan func(), cfg.Publishers*cfg.Pending), seq: make([]uint64, cfg.Streams)}
	h.sample = func() (sample, error) { return sample{}, nil }
	for _, p := range h.publishers {
		p.js = &fakeJS{publish: func(m *nats.Msg) error {
			s := p.bySlot[m]
			err := fate(s.number)
			if errors.Is(err, errLost) {
				return nil // sent, and never answered
			}
			h.answers <- func() { h.answer(p, s, m, err) }
			return nil
		}}
	}
	h.wg.Go(func() {
		for answer := range h.answers {
			answer()
		}
	})
	return h
}

var errLost = errors.New("lost")

func (h *harness) answer(p *publisher, s *slot, m *nats.Msg, err error) {
	if err != nil {
		p.answer(m, nil, err)
		return
	}
	h.seq[s.stream]++
	p.answer(m, &jetstream.PubAck{Stream: streamName(s.stream), Sequence: h.seq[s.stream]}, nil)
}

func (h *harness) close() {
	close(h.answers)
	h.wg.Wait()
}

func good(uint64) error { return nil }

// Every shape of load settles what it sent, and its ledgers know where it is.
func TestLoadSettlesAll(t *testing.T) {
	refused := errors.New("too many requests")
	for name, c := range map[string]struct {
		cfg    Config
		fate   func(uint64) error
		failed bool
	}{
		"saturating": {Config{Streams: 4, Publishers: 2, Pending: 16}, good, false},
		"closed":     {Config{Streams: 2, ClosedLoop: 5}, good, false},
		"open":       {Config{Streams: 4, Rate: 4000, Pending: 8}, good, false},
		"refusals": {Config{Streams: 1, Pending: 16}, func(n uint64) error {
			if n%10 == 3 {
				return refused
			}
			return nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Window, c.cfg.Warmup, c.cfg.SizeBytes = 100*time.Millisecond, 20*time.Millisecond, 64
			h := newHarness(t, c.cfg, c.fate)
			if err := h.drive(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.close()
			total, kept := h.tally.total, int64(0)
			for _, p := range h.publishers {
				p.ledger.each(func(uint64, uint32) { kept++ })
			}
			if total.acked == 0 || total.acked != kept || total.acked+total.failed != h.sent() || (total.failed > 0) != c.failed {
				t.Errorf("%d sent: %+v, %d in the ledgers", h.sent(), total.counts, kept)
			}
			if got := total.response.TotalCount(); got != total.timed+total.censored {
				t.Errorf("%d responses of %d timed and %d censored", got, total.timed, total.censored)
			}
			if c.cfg.Rate > 0 && h.sent() != 480 {
				t.Errorf("%d sent of a schedule of 480", h.sent())
			}
			if c.failed && h.f.errs.snapshot()[refused.Error()] != total.failed {
				t.Errorf("errors: %v", h.f.errs.snapshot())
			}
		})
	}
}

// What is never answered is unknown when the caller gives up, and in the
// response of the window at least until its end.
func TestUnansweredIsUnknown(t *testing.T) {
	h := newHarness(t, Config{Streams: 1, Pending: 10, Rate: 1000, Window: 200 * time.Millisecond}, func(n uint64) error {
		if n >= 20 && n < 25 {
			return errLost
		}
		return nil
	})
	defer h.close()
	p := h.publishers[0]
	h.f.clk = clock{time.Now()}
	h.f.win = window{end: int64(h.f.cfg.Window)}
	if err := p.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := p.pool.wait(done, len(p.slots)-5); err != nil {
		t.Fatal(err)
	}
	p.abandon()
	p.abandon() // settles nothing twice
	h.tally.collect()
	total := h.tally.total
	if total.unknown != 5 || total.acked != 195 || h.sent() != 200 || total.censored != 5 {
		t.Errorf("%d sent: %+v", h.sent(), total.counts)
	}
	if got := time.Duration(total.response.Max()); got < 170*time.Millisecond {
		t.Errorf("the largest response is %v", got)
	}
}

// A sender that stops owes the rest of its schedule.
func TestOwedScheduleIsCensored(t *testing.T) {
	h := newHarness(t, Config{Streams: 2, Rate: 1000, Window: 500 * time.Millisecond, Warmup: 100 * time.Millisecond}, good)
	defer h.close()
	h.f.clk = clock{time.Now()}
	h.f.win = window{warmEnd: int64(h.f.cfg.Warmup), end: int64(h.f.cfg.Warmup + h.f.cfg.Window)}
	h.f.stopped.Store(true)
	for _, p := range h.publishers {
		if err := p.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.tally.collect()
	unsent := h.publishers[0].lag.unsent + h.publishers[1].lag.unsent
	if total := h.tally.total; h.sent() != 0 || unsent != 600 || total.censored != 500 {
		t.Errorf("%d sent, %d unsent, %d censored; want 0, 600, 500", h.sent(), unsent, total.censored)
	}
}

func TestScheduleInterleaves(t *testing.T) {
	var all []int64
	for i := range 4 {
		for k := range uint64(250) {
			all = append(all, dueAt(7, 1000, i, 4, k))
		}
	}
	slices.Sort(all)
	for k, at := range all {
		if want := 7 + int64(k)*1e6; at != want {
			t.Fatalf("message %d is due at %d, want %d", k, at, want)
		}
	}
}

func TestStreamsAreCovered(t *testing.T) {
	for _, c := range []struct {
		n, streams int
		want       [][]int
	}{
		{1, 3, [][]int{{0, 1, 2}}},
		{2, 5, [][]int{{0, 2, 4}, {1, 3}}},
		{3, 3, [][]int{{0}, {1}, {2}}},
		{5, 2, [][]int{{0}, {1}, {0}, {1}, {0}}},
	} {
		var got [][]int
		for i := range c.n {
			got = append(got, assign(i, c.n, c.streams))
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d publishers on %d streams: %v, want %v", c.n, c.streams, got, c.want)
		}
	}
}

func TestPayloadDoesNotCompress(t *testing.T) {
	cfg := Config{Dir: "d", Streams: 1, SizeBytes: 4096, Pending: 16}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	p := newLoad(&cfg, subjects(1)).publishers[0]
	var all, packed bytes.Buffer
	for i := range p.slots {
		all.Write(p.slots[i].msg.Data)
	}
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() < all.Len() {
		t.Errorf("%d bytes of payload pack into %d", all.Len(), packed.Len())
	}
}

func TestFates(t *testing.T) {
	for err, want := range map[error]bool{
		nats.ErrDisconnected: true, nats.ErrConnectionClosed: true, nats.ErrTimeout: true, errNoAnswer: true,
		jetstream.ErrNoStreamResponse: false, nats.ErrMaxPayload: false, &jetstream.APIError{Code: 429}: false,
	} {
		if unanswered(err) != want {
			t.Errorf("%v: unknown is %v", err, !want)
		}
	}
}

func TestErrorLogIsBounded(t *testing.T) {
	var l errorLog
	for i := range 100 {
		l.note(errors.New(string(rune('a'+i%50)) + "!"))
	}
	if got := l.snapshot(); len(got) > errorKindsMax+1 || got[otherErrors] == 0 {
		t.Errorf("%v", got)
	}
}
