package placement

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"dyno/engine/ids"

	"pgregory.net/rapid"
)

// twin answers Assign in the dumbest way: sort all candidates anew for every
// single replica and take the first.
func twin(v View, r Request) [][]ids.NodeID {
	nodes := maps.Collect(func(yield func(ids.NodeID, Node) bool) {
		for _, n := range v.Nodes {
			if !n.Fenced {
				yield(n.ID, n)
			}
		}
	})
	var out [][]ids.NodeID
	for range r.Partitions {
		var part []ids.NodeID
		for i := range r.RF {
			part = append(part, first(nodes, part, i == 0))
		}
		for i, id := range part {
			n := nodes[id]
			n.Replicas++
			if i == 0 {
				n.Leaders++
			}
			nodes[id] = n
		}
		out = append(out, part)
	}
	return out
}

func first(nodes map[ids.NodeID]Node, part []ids.NodeID, leader bool) ids.NodeID {
	var keys [][4]int // old rack, leaders, replicas, id
	for id, n := range nodes {
		if slices.Contains(part, id) {
			continue
		}
		key := [4]int{0, 0, n.Replicas, int(id)}
		for _, other := range part {
			if n.Rack != "" && nodes[other].Rack == n.Rack {
				key[0] = 1
			}
		}
		if leader {
			key[1] = n.Leaders
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b [4]int) int { return slices.Compare(a[:], b[:]) })
	return ids.NodeID(keys[0][3])
}

func genView(t *rapid.T) View {
	var v View
	racks := rapid.IntRange(0, 4).Draw(t, "racks")
	for i := range rapid.IntRange(1, 9).Draw(t, "nodes") {
		n := Node{
			ID:       ids.NodeID(i*7%10 + 1), // not in order
			Fenced:   rapid.IntRange(0, 5).Draw(t, "fenced") == 0,
			Replicas: rapid.IntRange(0, 5).Draw(t, "replicas"),
			Leaders:  rapid.IntRange(0, 3).Draw(t, "leaders"),
		}
		if racks > 0 {
			n.Rack = fmt.Sprint("rack", rapid.IntRange(1, racks).Draw(t, "rack"))
		}
		v.Nodes = append(v.Nodes, n)
	}
	return v
}

func genRequest(t *rapid.T) Request {
	return Request{Partitions: rapid.IntRange(1, 40).Draw(t, "partitions"), RF: rapid.IntRange(1, 5).Draw(t, "rf")}
}

func live(v View) map[ids.NodeID]Node {
	m := make(map[ids.NodeID]Node)
	for _, n := range v.Nodes {
		if !n.Fenced {
			m[n.ID] = n
		}
	}
	return m
}

// racksOf counts the racks of some nodes; an empty rack counts each time.
func racksOf(nodes map[ids.NodeID]Node, among []ids.NodeID) int {
	named, own := make(map[string]bool), 0
	for _, id := range among {
		if r := nodes[id].Rack; r != "" {
			named[r] = true
		} else {
			own++
		}
	}
	return len(named) + own
}

func TestAssignAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, r := genView(t), genRequest(t)
		got, err := Assign(v, r)
		nodes := live(v)
		if len(nodes) < r.RF {
			if !errors.Is(err, ErrTooFewNodes) {
				t.Fatalf("%d nodes for RF %d: %v", len(nodes), r.RF, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := twin(v, r); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, the twin says %v", got, want)
		}
		all := racksOf(nodes, slices.Collect(maps.Keys(nodes)))
		for p, part := range got {
			if len(part) != r.RF || len(slices.Compact(slices.Sorted(slices.Values(part)))) != r.RF {
				t.Fatalf("partition %d: %v, want %d distinct nodes", p, part, r.RF)
			}
			for _, id := range part {
				if _, ok := nodes[id]; !ok {
					t.Fatalf("partition %d: node %d is fenced or unknown", p, id)
				}
			}
			if n := racksOf(nodes, part); n != min(r.RF, all) {
				t.Fatalf("partition %d: %v spans %d racks of %d", p, part, n, all)
			}
		}
	})
}

func TestAssignSpreads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, r := genView(t), genRequest(t)
		for i := range v.Nodes {
			v.Nodes[i].Replicas, v.Nodes[i].Leaders, v.Nodes[i].Fenced = 0, 0, false
		}
		r.RF = min(r.RF, len(v.Nodes))
		got, err := Assign(v, r)
		if err != nil {
			t.Fatal(err)
		}
		leaders, replicas := make(map[ids.NodeID]int), make(map[ids.NodeID]int)
		for _, n := range v.Nodes {
			leaders[n.ID], replicas[n.ID] = 0, 0
		}
		for _, part := range got {
			leaders[part[0]]++
			for _, id := range part {
				replicas[id]++
			}
		}
		if s := spread(leaders); s > 1 {
			t.Fatalf("leaders differ by %d: %v", s, leaders)
		}
		// Racks of unlike size pull replicas to the small ones, as promise 2 asks.
		if s := spread(replicas); racksOf(live(v), slices.Collect(maps.Keys(leaders))) == len(v.Nodes) && s > 1 {
			t.Fatalf("replicas differ by %d: %v", s, replicas)
		}
	})
}

func spread(m map[ids.NodeID]int) int {
	v := slices.Sorted(maps.Values(m))
	return v[len(v)-1] - v[0]
}

func TestAssignOrderOfNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, r := genView(t), genRequest(t)
		before := slices.Clone(v.Nodes)
		a, errA := Assign(v, r)
		if !reflect.DeepEqual(before, v.Nodes) {
			t.Fatal("Assign changed its view")
		}
		v.Nodes = rapid.Permutation(v.Nodes).Draw(t, "order")
		b, errB := Assign(v, r)
		if !reflect.DeepEqual(a, b) || (errA == nil) != (errB == nil) {
			t.Fatalf("the order of nodes matters: %v (%v), %v (%v)", a, errA, b, errB)
		}
	})
}

func TestAssignRefuses(t *testing.T) {
	one := View{Nodes: []Node{{ID: 1}}}
	for _, c := range []struct {
		v    View
		r    Request
		want error
	}{
		{one, Request{Partitions: 0, RF: 1}, ErrRequest},
		{one, Request{Partitions: 1, RF: 0}, ErrRequest},
		{one, Request{Partitions: 1, RF: 2}, ErrTooFewNodes},
		{View{}, Request{Partitions: 1, RF: 1}, ErrTooFewNodes},
		{View{Nodes: []Node{{ID: 1, Fenced: true}}}, Request{Partitions: 1, RF: 1}, ErrTooFewNodes},
	} {
		if _, err := Assign(c.v, c.r); !errors.Is(err, c.want) {
			t.Errorf("%+v of %+v: %v, want %v", c.r, c.v, err, c.want)
		}
	}
}
