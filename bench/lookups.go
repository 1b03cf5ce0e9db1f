package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dyno/bench/cell"
	"dyno/bench/record"
	"dyno/engine/ids"
	"dyno/engine/multiraft"

	"github.com/puzpuzpuz/xsync/v4"
)

// The map in which every request finds its partition's replica: five of them under
// reads with rare writes, in a process of its own.

const (
	workLookup      = "lookup"
	lookupTopics    = 128
	lookupParts     = 8
	lookupShards    = 64                    // of the sharded ones, as many as ours has
	lookupEvery     = 10 * time.Millisecond // between two writes: a replica comes and goes
	lookupRun       = time.Second
	lookupRunQuick  = 100 * time.Millisecond
	lookupsUnlooked = 1024 // between two looks at the clock's flag
)

var (
	lookupUnit = record.Unit{Name: "lookup", Unit: "ns/lookup", Better: "lower"}
	// writesUnit: where all cores read, the writer gets its turn more seldom than its
	// timer says.
	writesUnit = record.Unit{Name: "lookup_writes", Unit: "1/s"}
)

// lookupMaps are the contenders; ours is the last.
var lookupMaps = []struct {
	name string
	make func() replicaMap
}{
	{"rwmutex", func() replicaMap { return &lockedMap{m: map[replicaKey]*replicaValue{}} }},
	{"rwmutex-shards", newShardedMap},
	{"sync-map", func() replicaMap { return &syncMap{} }},
	{"xsync", func() replicaMap { return xsyncMap{xsync.NewMap[replicaKey, *replicaValue]()} }},
	{"copied-shards", func() replicaMap { return directoryMap{multiraft.NewDirectory[replicaValue]()} }},
}

var lookupGoroutines = []int{1, 2, 4, 8}

// lookupSpec is the work of one process.
type lookupSpec struct {
	Map        string        `json:"map"`
	Goroutines int           `json:"goroutines"`
	Run        time.Duration `json:"run_ns"`
	Seed       uint64        `json:"seed"`
}

// lookupResult is what it tells.
type lookupResult struct {
	Lookups int64   `json:"lookups"`
	Writes  int64   `json:"writes"`
	Ns      float64 `json:"ns"` // of a core, for each lookup
}

// lookups adds the family map.
func (p *clusterPlan) lookups() {
	run, counts := lookupRun, lookupGoroutines
	if p.cfg.Quick {
		run, counts = lookupRunQuick, []int{4}
	}
	p.e.Config["lookup_is"] = fmt.Sprintf("ns of a core for each lookup by topic id and partition among %d, one call through an interface included; a write and its undoing every %v",
		lookupTopics*lookupParts, lookupEvery)
	for _, n := range counts {
		block := "map-" + strconv.Itoa(n)
		for _, m := range lookupMaps {
			p.e.Cells = append(p.e.Cells, Cell{
				Arm: fmt.Sprintf("map/%s-%d", m.name, n), Block: block, Repetitions: p.cfg.plain(),
				Params: map[string]string{paramBlock: block, "map": m.name, "goroutines": strconv.Itoa(n)},
				Measure: func(ctx context.Context, b *bed) error {
					return b.lookup(ctx, lookupSpec{Map: m.name, Goroutines: n, Run: run, Seed: b.seed})
				},
			})
		}
	}
}

// lookup measures one map in a fresh process.
func (b *bed) lookup(ctx context.Context, spec lookupSpec) error {
	b.lab.progress.say(b.name, "measure", "")
	raw, err := runJobs(ctx, []job{{name: "the measuring process", argv: b.lab.child, work: workLookup, spec: spec}}, nil)
	if err != nil {
		return err
	}
	var res lookupResult
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of the lookups: %w", err)
	}
	b.rep.Values[lookupUnit.Name], b.rep.Values[writesUnit.Name] = res.Ns, float64(res.Writes)/spec.Run.Seconds()
	return nil
}

// lookupAnswer compares the maps where most goroutines look.
func lookupAnswer(run *record.Run) string {
	for _, n := range slices.Backward(lookupGoroutines) {
		var words []string
		for _, m := range lookupMaps {
			if ns := median(run, fmt.Sprintf("map/%s-%d", m.name, n), lookupUnit.Name); ns > 0 {
				words = append(words, fmt.Sprintf("%s %.0f", m.name, ns))
			}
		}
		if len(words) > 0 {
			return fmt.Sprintf("a lookup with %d goroutines in ns: %s", n, strings.Join(words, ", "))
		}
	}
	return ""
}

type replicaKey struct {
	topic ids.TopicID
	part  ids.Partition
}

type replicaValue struct{ no int }

type replicaMap interface {
	get(k replicaKey) *replicaValue
	put(k replicaKey, v *replicaValue)
	remove(k replicaKey)
}

// runLookups is the work of the process.
func runLookups(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec lookupSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("lookups: %w", err)
	}
	for _, m := range lookupMaps {
		if m.name == spec.Map {
			if err := s.Await(ctx); err != nil {
				return nil, err
			}
			return spec.measure(m.make())
		}
	}
	return nil, fmt.Errorf("lookups: no map %q", spec.Map)
}

// measure lets goroutines look keys up at random for a time, while one writes. A
// lookup that finds nothing, or something else, is an error: ErrVerify.
func (spec *lookupSpec) measure(m replicaMap) (*lookupResult, error) {
	keys := make([]replicaKey, lookupTopics*lookupParts)
	for i := range keys {
		binary.BigEndian.PutUint64(keys[i].topic[:], rand.New(rand.NewPCG(spec.Seed, uint64(i/lookupParts))).Uint64())
		keys[i].topic[15], keys[i].part = byte(i/lookupParts), ids.Partition(i%lookupParts)
		m.put(keys[i], &replicaValue{no: i})
	}
	var stop atomic.Bool
	var lookups, wrong atomic.Int64
	var readers, writer sync.WaitGroup
	begun := time.Now()
	for n := range spec.Goroutines {
		readers.Go(func() {
			done, bad := lookAround(m, keys, rand.New(rand.NewPCG(spec.Seed, uint64(n))), &stop)
			lookups.Add(done)
			wrong.Add(bad)
		})
	}
	writes := int64(0)
	writer.Go(func() {
		extra := replicaKey{topic: ids.TopicID{0xff}}
		tick := time.NewTicker(lookupEvery)
		defer tick.Stop()
		for range tick.C {
			if stop.Load() {
				return
			}
			m.put(extra, &replicaValue{no: -1})
			m.remove(extra)
			writes++
		}
	})
	timer := time.AfterFunc(spec.Run, func() { stop.Store(true) })
	readers.Wait()
	took := time.Since(begun)
	timer.Stop()
	writer.Wait()
	res := &lookupResult{Lookups: lookups.Load(), Writes: writes}
	if wrong.Load() > 0 || res.Lookups == 0 {
		return nil, fmt.Errorf("%w: %d of %d lookups in %s found another value", cell.ErrVerify, wrong.Load(), res.Lookups, spec.Map)
	}
	cores := float64(min(spec.Goroutines, runtime.GOMAXPROCS(0)))
	res.Ns = cores * float64(took) / float64(res.Lookups)
	return res, nil
}

// lookAround looks keys up until it is told to stop.
func lookAround(m replicaMap, keys []replicaKey, r *rand.Rand, stop *atomic.Bool) (done, bad int64) {
	order := r.Perm(len(keys))
	for at := 0; !stop.Load(); done += lookupsUnlooked {
		for range lookupsUnlooked {
			i := order[at]
			if at++; at == len(order) {
				at = 0
			}
			if v := m.get(keys[i]); v == nil || v.no != i {
				bad++
			}
		}
	}
	return done, bad
}

// lockedMap is a map under one RWMutex.
type lockedMap struct {
	mu sync.RWMutex
	m  map[replicaKey]*replicaValue // guarded by mu
}

func (l *lockedMap) get(k replicaKey) *replicaValue {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.m[k]
}

func (l *lockedMap) put(k replicaKey, v *replicaValue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m[k] = v
}

func (l *lockedMap) remove(k replicaKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.m, k)
}

// shardedMap is lockedMap in parts, each on cache lines of its own.
type shardedMap struct {
	seed  maphash.Seed
	parts [lookupShards]struct {
		lockedMap
		_ [64]byte
	}
}

func newShardedMap() replicaMap {
	s := &shardedMap{seed: maphash.MakeSeed()}
	for i := range s.parts {
		s.parts[i].m = map[replicaKey]*replicaValue{}
	}
	return s
}

func (s *shardedMap) of(k replicaKey) *lockedMap {
	return &s.parts[maphash.Comparable(s.seed, k)%lookupShards].lockedMap
}

func (s *shardedMap) get(k replicaKey) *replicaValue    { return s.of(k).get(k) }
func (s *shardedMap) put(k replicaKey, v *replicaValue) { s.of(k).put(k, v) }
func (s *shardedMap) remove(k replicaKey)               { s.of(k).remove(k) }

type syncMap struct{ m sync.Map }

func (s *syncMap) get(k replicaKey) *replicaValue {
	v, ok := s.m.Load(k)
	if !ok {
		return nil
	}
	return v.(*replicaValue)
}

func (s *syncMap) put(k replicaKey, v *replicaValue) { s.m.Store(k, v) }
func (s *syncMap) remove(k replicaKey)               { s.m.Delete(k) }

type xsyncMap struct {
	m *xsync.Map[replicaKey, *replicaValue]
}

func (x xsyncMap) get(k replicaKey) *replicaValue {
	v, _ := x.m.Load(k)
	return v
}

func (x xsyncMap) put(k replicaKey, v *replicaValue) { x.m.Store(k, v) }
func (x xsyncMap) remove(k replicaKey)               { x.m.Delete(k) }

// directoryMap is the one that the broker has.
type directoryMap struct {
	d *multiraft.Directory[replicaValue]
}

func (d directoryMap) get(k replicaKey) *replicaValue { return d.d.ByID(k.topic, k.part) }

func (d directoryMap) put(k replicaKey, v *replicaValue) {
	d.d.Put(k.topic, string(k.topic[:]), k.part, v)
}

func (d directoryMap) remove(k replicaKey) { d.d.Remove(k.topic, k.part) }
