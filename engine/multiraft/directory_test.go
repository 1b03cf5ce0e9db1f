package multiraft

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"dyno/engine/ids"
)

func topicID(n uint64) (id ids.TopicID) {
	binary.LittleEndian.PutUint64(id[:], mix(n))
	binary.LittleEndian.PutUint64(id[8:], mix(n+1<<32))
	return id
}

// The dumb twin is a map under no lock.
func TestDirectoryAgainstMap(t *testing.T) {
	type key struct {
		topic int
		p     ids.Partition
	}
	rapid.Check(t, func(t *rapid.T) {
		d := NewDirectory[int]()
		twin := map[key]*int{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := key{rapid.IntRange(0, 20).Draw(t, "topic"), ids.Partition(rapid.IntRange(0, 5).Draw(t, "p"))}
			if rapid.Bool().Draw(t, "put") {
				v := new(int)
				d.Put(topicID(uint64(k.topic)), fmt.Sprint("t", k.topic), k.p, v)
				twin[k] = v
			} else {
				d.Remove(topicID(uint64(k.topic)), k.p)
				delete(twin, k)
			}
			for topic := range 21 {
				for p := ids.Partition(-1); p < 7; p++ {
					want, name := twin[key{topic, p}], fmt.Sprint("t", topic)
					if d.ByID(topicID(uint64(topic)), p) != want || d.ByName(name, p) != want ||
						d.ByNameBytes([]byte(name), p) != want {
						t.Fatalf("topic %d partition %d: lookups disagree with the map", topic, p)
					}
				}
			}
		}
		n := 0
		d.Each(func(ids.TopicID, string, ids.Partition, *int) { n++ })
		if n != len(twin) {
			t.Fatalf("Each saw %d, want %d", n, len(twin))
		}
	})
}

// Readers run against a writer that makes and removes topics. Each value holds
// its own key, so a reader that got another topic's value sees it. Partition 0
// of topic 0 is never removed and must always be found.
func TestDirectoryRace(t *testing.T) {
	type value struct {
		topic int
		p     ids.Partition
	}
	d := NewDirectory[value]()
	d.Put(topicID(0), "t0", 0, &value{0, 0})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for topic := range 8 {
					for p := ids.Partition(0); p < 4; p++ {
						for _, v := range []*value{
							d.ByID(topicID(uint64(topic)), p), d.ByName(fmt.Sprint("t", topic), p),
						} {
							if v != nil && (v.topic != topic || v.p != p) || v == nil && topic == 0 && p == 0 {
								t.Errorf("topic %d partition %d: found %v", topic, p, v)
								return
							}
						}
					}
				}
			}
		})
	}
	for round := range 300 {
		for topic := range 8 {
			for p := ids.Partition(0); p < 4; p++ {
				if round%2 == 0 {
					d.Put(topicID(uint64(topic)), fmt.Sprint("t", topic), p, &value{topic, p})
				} else if topic != 0 || p != 0 {
					d.Remove(topicID(uint64(topic)), p)
				}
			}
		}
	}
	close(stop)
	readers.Wait()
}

func benchDirectory() (*Directory[int], []ids.TopicID, []string) {
	const topics, parts = 1000, 8
	d := NewDirectory[int]()
	var list []ids.TopicID
	var names []string
	for i := range topics {
		list = append(list, topicID(uint64(i)))
		names = append(names, fmt.Sprintf("orders.eu-west.%04d", i))
		for p := range ids.Partition(parts) {
			d.Put(list[i], names[i], p, new(int))
		}
	}
	return d, list, names
}

// BenchmarkDirectory looks replicas up as a produce does, on all processors at once;
// testdata/directory.txt is a run of it on a quiet machine, for benchstat.
func BenchmarkDirectory(b *testing.B) {
	d, list, names := benchDirectory()
	raw := make([][]byte, len(names))
	for i := range names {
		raw[i] = []byte(names[i])
	}
	for name, find := range map[string]func(i int) *int{
		"id":    func(i int) *int { return d.ByID(list[i], ids.Partition(i&7)) },
		"name":  func(i int) *int { return d.ByName(names[i], ids.Partition(i&7)) },
		"bytes": func(i int) *int { return d.ByNameBytes(raw[i], ids.Partition(i&7)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if i == len(list) {
						i = 0
					}
					if find(i) == nil {
						b.Error("not found")
						return
					}
				}
			})
		})
	}
}

func TestDirectoryLookupDoesNotAllocate(t *testing.T) {
	d, list, names := benchDirectory()
	raw := []byte(names[5])
	if n := testing.AllocsPerRun(100, func() {
		if d.ByID(list[5], 1) == nil || d.ByName(names[5], 1) == nil || d.ByNameBytes(raw, 1) == nil {
			t.Error("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations per lookup, want 0", n)
	}
}
