package attribute

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// program is what a program costs, by stack from the leaf to the root, in CPU-s per
// million records.
type program map[string]float64

// broker is a program like the broker's, of 10 CPU-s per million records.
func broker() program {
	return program{
		"runtime.memmove<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).run":                                     1.0,
		"syscall.Syscall6<dyno/wal.(*flusher).toDisk<dyno/wal.(*flusher).run":                                 1.5,
		"dyno/wal.crc<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).run":                                        0.8,
		"dyno/engine/partition.stamp<dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run":           0.5,
		"dyno/engine/replica.(*Replica).record<dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run": 0.7,
		"go.etcd.io/raft.step<dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run":                  1.2,
		"dyno/engine/partition.ParseBatch<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read":           1.6,
		"dyno/engine/kafka.walkProduce<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read":              0.4,
		"syscall.read<dyno/engine/kafka.(*conn).fill<dyno/engine/kafka.read":                                  0.9,
		"runtime.gcDrain<runtime.gcBgMarkWorker":                                                              0.6,
		"runtime.futex<runtime.mcall":                                                                         0.8,
	}
}

// with is the program with other costs; a cost of 0 takes a stack away.
func (p program) with(changes program) program {
	out := program{}
	for k, v := range p {
		out[k] = v
	}
	for k, v := range changes {
		out[k] = v
	}
	return out
}

// measure takes a profile of a run over so many million records: samples of 10 ms
// that chance spreads, and a run that is slower as a whole by drift.
func (p program) measure(r *rand.Rand, millions, drift float64) Side {
	b := &builder{out: &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}, functions: map[string]*profile.Location{}}
	keys := make([]string, 0, len(p))
	for k := range p {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	cpu := 0.0
	for _, k := range keys {
		n := poisson(r, p[k]*drift*millions*100)
		cpu += float64(n) / 100
		b.add(k, int64(n))
	}
	return Side{Profiles: []*profile.Profile{b.out}, CPU: cpu / millions}
}

type builder struct {
	out       *profile.Profile
	functions map[string]*profile.Location
}

func (b *builder) add(key string, samples int64) {
	s := &profile.Sample{Value: []int64{samples, samples * 10e6}}
	for name := range strings.SplitSeq(key, "<") {
		loc := b.functions[name]
		if loc == nil {
			id := uint64(len(b.functions) + 1)
			f := &profile.Function{ID: id, Name: name}
			loc = &profile.Location{ID: id, Line: []profile.Line{{Function: f}}}
			b.functions[name] = loc
			b.out.Function, b.out.Location = append(b.out.Function, f), append(b.out.Location, loc)
		}
		s.Location = append(s.Location, loc)
	}
	b.out.Sample = append(b.out.Sample, s)
}

// poisson draws by the normal approximation, good enough for counts of samples.
func poisson(r *rand.Rand, mean float64) int {
	return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
}

// blocks runs two programs against each other, over as many million records a side
// and block as give some 2,500 samples, with a drift that both sides of a block share.
func blocks(seed uint64, n int, base, head program) (list []Block) {
	r := rand.New(rand.NewPCG(seed, 7))
	for range n {
		drift := 1 + 0.03*r.NormFloat64()
		list = append(list, Block{base.measure(r, 2.5, drift), head.measure(r, 2.5, drift)})
	}
	return list
}

func attribute(t *testing.T, seed uint64, n int, base, head program) *Attribution {
	t.Helper()
	a, err := Attribute(blocks(seed, n, base, head), "dyno/", seed)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *Attribution) names() (names []string) {
	for _, f := range a.Named {
		names = append(names, f.Name)
	}
	return names
}

const parseStack = "dyno/engine/partition.ParseBatch<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read"

// TestAttribute plants 5 % of the whole in one function. It must be the first that is
// named, always; of all that are named, 5 % may be so by chance.
func TestAttribute(t *testing.T) {
	others, missed := 0, 0
	for seed := range uint64(40) {
		a := attribute(t, seed+1, 12, broker(), broker().with(program{parseStack: 2.1}))
		if len(a.Named) == 0 || a.Named[0].Name != "dyno/engine/partition.ParseBatch" {
			t.Errorf("seed %d: named %v", seed, a.names())
			continue
		}
		others += len(a.Named) - 1
		f := a.Named[0]
		if f.Rose.Low > 0.5 || f.Rose.High < 0.5 {
			missed++ // 5 % of intervals do
		}
		if math.Abs(f.Rose.More-0.5) > 0.15 {
			t.Errorf("seed %d: rose by %.3f, planted 0.5", seed, f.Rose.More)
		}
		if f.Share < 0.6 || f.From != "dyno/engine/kafka.(*conn).produce" || f.Q > FalseDiscoveries {
			t.Errorf("seed %d: %+v", seed, f)
		}
	}
	if others > 8 || missed > 6 {
		t.Errorf("%d others are named and %d intervals miss what was planted, in 40 attributions", others, missed)
	}
}

// TestLibrary wants who asked for a copy to be blamed, and the copy to be told.
func TestLibrary(t *testing.T) {
	a := attribute(t, 3, 12, broker(), broker().with(program{
		"runtime.memmove<bytes.Clone<dyno/engine/partition.ParseBatch<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read": 0.6}))
	if len(a.Named) != 1 || a.Named[0].Name != "dyno/engine/partition.ParseBatch" || len(a.Named[0].In) == 0 || a.Named[0].In[0].Name != "runtime.memmove" {
		t.Fatalf("named %+v", a.Named)
	}
	plain, err := Attribute(blocks(3, 12, broker(), broker().with(program{
		"runtime.memmove<bytes.Clone<dyno/engine/partition.ParseBatch<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read": 0.6})), "", 3)
	if err != nil || len(plain.Named) == 0 || plain.Named[0].Name != "runtime.memmove" {
		t.Fatalf("without a prefix: %+v, %v", plain, err)
	}
}

// TestNothing gives both sides the same program: at most 5 in 100 attributions may
// name something. 400 of them with 20 expected: 36 is beyond 1 in 1,000.
func TestNothing(t *testing.T) {
	const trials = 400
	wrong := 0
	for seed := range uint64(trials) {
		if a := attribute(t, seed+1000, 12, broker(), broker()); len(a.Named) > 0 {
			wrong++
		}
	}
	t.Logf("%d of %d", wrong, trials)
	if wrong > 35 {
		t.Errorf("something is named in %d of %d attributions of a program to itself", wrong, trials)
	}
}

// moved takes a stack to another name at the same cost.
func moved(p program, pairs ...string) program {
	out := p.with(nil)
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i+1]] = out[pairs[i]]
		delete(out, pairs[i])
	}
	return out
}

const (
	layCopy = "runtime.memmove<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).run"
	layCRC  = "dyno/wal.crc<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).run"
	record  = "dyno/engine/replica.(*Replica).record<dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run"
)

// TestMoved wants nobody blamed for cost that only has another name.
func TestMoved(t *testing.T) {
	all := 0
	for i, c := range []struct {
		name string
		head program
	}{
		{"a leaf renamed", moved(broker(), parseStack, "dyno/engine/partition.Decode<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read")},
		{"a caller renamed", moved(broker(), layCopy, "runtime.memmove<dyno/wal.(*flusher).put<dyno/wal.(*flusher).run", layCRC, "dyno/wal.crc<dyno/wal.(*flusher).put<dyno/wal.(*flusher).run")},
		{"a package renamed", moved(broker(), layCopy, "runtime.memmove<dyno/log.(*flusher).lay<dyno/log.(*flusher).run", layCRC, "dyno/log.crc<dyno/log.(*flusher).lay<dyno/log.(*flusher).run",
			"syscall.Syscall6<dyno/wal.(*flusher).toDisk<dyno/wal.(*flusher).run", "syscall.Syscall6<dyno/log.(*flusher).toDisk<dyno/log.(*flusher).run")},
		{"a call dissolved", moved(broker(), record, "dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run")},
		{"a call dissolved that calls", moved(broker(), layCopy, "runtime.memmove<dyno/wal.(*flusher).run", layCRC, "dyno/wal.crc<dyno/wal.(*flusher).run")},
		{"split off", moved(broker(), parseStack, "dyno/engine/partition.checksum<"+parseStack)},
		{"a function between", moved(broker(), layCopy, "runtime.memmove<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).add<dyno/wal.(*flusher).run",
			layCRC, "dyno/wal.crc<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).add<dyno/wal.(*flusher).run")},
	} {
		named := 0
		for seed := range uint64(10) {
			a := attribute(t, 100*uint64(i)+seed+1, 12, broker(), c.head)
			if len(a.Named) > 0 {
				named++
				t.Logf("%s, seed %d: named %v", c.name, seed, a.names())
			}
		}
		if all += named; named > 3 {
			t.Errorf("%s: somebody is blamed in %d of 10", c.name, named)
		}
	}
	if all > 9 { // chance may have its 5 % of 70: more than 9 are beyond 1 in 500
		t.Errorf("somebody is blamed in %d of 70", all)
	}
}

// TestRenamedAndSlower wants the new name, with the old one, and only what is more.
func TestRenamedAndSlower(t *testing.T) {
	head := moved(broker(), parseStack, "dyno/engine/partition.Decode<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read")
	head["dyno/engine/partition.Decode<dyno/engine/kafka.(*conn).produce<dyno/engine/kafka.read"] = 2.1
	a := attribute(t, 5, 12, broker(), head)
	if len(a.Named) != 1 || a.Named[0].Name != "dyno/engine/partition.Decode" || a.Named[0].Was != "dyno/engine/partition.ParseBatch" || math.Abs(a.Named[0].Rose.More-0.5) > 0.2 {
		t.Fatalf("%+v", a.Named)
	}
}

// TestMovedAndSlower moves work into the caller, where it costs more.
func TestMovedAndSlower(t *testing.T) {
	head := moved(broker(), record, "dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run")
	head["dyno/engine/replica.(*Replica).Turn<dyno/engine/multiraft.run"] = 1.4
	a := attribute(t, 6, 12, broker(), head)
	if len(a.Named) == 0 || a.Named[0].Name != "dyno/engine/replica.(*Replica).Turn" || len(a.Named[0].Against) == 0 || math.Abs(a.Named[0].Rose.More-0.7) > 0.25 {
		t.Fatalf("%+v", a.Named)
	}
}

// TestDeep spreads a rise over so many callees that none of them can be named: the
// function that they share is.
func TestDeep(t *testing.T) {
	base, head := broker(), broker()
	for i := range 60 {
		k := "dyno/x.f" + string(rune('A'+i/26)) + string(rune('a'+i%26)) + "<dyno/x.many<dyno/engine/kafka.read"
		base[k], head[k] = 0.02, 0.025
	}
	a := attribute(t, 8, 12, base, head)
	if len(a.Named) == 0 || a.Named[0].Name != "dyno/x.many" || !a.Named[0].Deep {
		t.Fatalf("named %v", a.names())
	}
}

// TestRefused wants an error where nothing could come of it.
func TestRefused(t *testing.T) {
	if _, err := Attribute(blocks(1, 7, broker(), broker()), "dyno/", 1); !errors.Is(err, ErrBlocks) {
		t.Errorf("7 blocks: %v", err)
	}
	list := blocks(1, 12, broker(), broker())
	list[3].Head.Profiles[0].SampleType[1].Type = "inuse_space"
	if _, err := Attribute(list, "dyno/", 1); !errors.Is(err, ErrProfile) {
		t.Errorf("a heap profile: %v", err)
	}
	list = blocks(1, 12, broker(), broker())
	list[3].Base.Profiles = nil
	if _, err := Attribute(list, "dyno/", 1); !errors.Is(err, ErrProfile) {
		t.Errorf("a side without a profile: %v", err)
	}
}

// TestShareOfNothing: a function got slower and another faster, so the whole did not move.
func TestShareOfNothing(t *testing.T) {
	a := attribute(t, 5, 12, broker(), broker().with(program{parseStack: 2.1,
		"dyno/wal.crc<dyno/wal.(*flusher).lay<dyno/wal.(*flusher).run": 0.3}))
	if len(a.Named) != 1 || a.Named[0].Name != "dyno/engine/partition.ParseBatch" || a.Named[0].Share != 0 {
		t.Fatalf("%+v", a.Named)
	}
	var text bytes.Buffer
	if err := a.WriteText(&text); err != nil || strings.Contains(a.Headline(), "of the rise") || strings.Contains(text.String(), "%  ") {
		t.Errorf("%v, %s:\n%s", err, a.Headline(), text.String())
	}
}

// TestText wants the guilty function and its figures in both forms.
func TestText(t *testing.T) {
	a := attribute(t, 1, 12, broker(), broker().with(program{parseStack: 2.1}))
	a.Phase = "produce"
	var text, markdown bytes.Buffer
	if err := errors.Join(a.WriteText(&text), a.WriteMarkdown(&markdown)); err != nil {
		t.Fatal(err)
	}
	for what, out := range map[string]string{"text": text.String(), "Markdown": markdown.String()} {
		for _, want := range []string{"dyno/engine/partition.ParseBatch", "12 further blocks (produce)", "% of the rise"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s has no %q:\n%s", what, want, out)
			}
		}
	}
	if !strings.Contains(markdown.String(), `(\*conn).produce`) {
		t.Errorf("names of methods are emphasis:\n%s", markdown.String())
	}
	none := attribute(t, 1001, 12, broker(), broker())
	if !strings.Contains(none.Headline(), "no function got slower") {
		t.Errorf("nothing named: %s", none.Headline())
	}
}
