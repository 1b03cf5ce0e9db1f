// Package placement decides which nodes hold the replicas of new partitions.
//
// It is a pure function of what it is given: no clock, no chance, no state, so
// the same question has the same answer everywhere and a test can ask it all.
// It does not move replicas that exist, does not know Raft or Kafka, and does
// not record its answer: the caller puts it into a metadata record.
//
// What it promises, the first before the next:
//
//  1. every partition has RF distinct nodes, none of them fenced;
//  2. a partition spans as many racks as it can: min(RF, racks);
//  3. preferred leaders (the first of each partition) are spread evenly: on a
//     cluster that was even before, no node leads two more than another;
//  4. replicas go to the node with the fewest among those that are left.
//
// Read next: metadata.CreateTopic, which takes the answer.
package placement

import (
	"errors"
	"fmt"

	"dyno/engine/ids"
)

// Node is one candidate and what it holds already.
type Node struct {
	ID       ids.NodeID
	Rack     string // nodes with an empty rack stand each for a rack of its own
	Fenced   bool   // gets nothing new
	Replicas int    // held now, of all topics
	Leaders  int    // of those, how many it is the preferred leader of
}

// View is the cluster as placement sees it, in any order; ids are distinct.
type View struct{ Nodes []Node }

// Request asks for partitions.
type Request struct {
	Partitions int // at least 1
	RF         int // at least 1
}

var (
	// ErrTooFewNodes means fewer nodes can take replicas than RF asks for.
	ErrTooFewNodes = errors.New("fewer brokers than the replication factor")
	// ErrRequest means a count below 1.
	ErrRequest = errors.New("bad placement request")
)

// Assign gives the nodes of each partition, the preferred leader first. It
// changes nothing in v. Cost: partitions × RF × nodes. ErrTooFewNodes,
// ErrRequest.
func Assign(v View, r Request) ([][]ids.NodeID, error) {
	if r.Partitions < 1 || r.RF < 1 {
		return nil, fmt.Errorf("%w: %d partitions, replication factor %d", ErrRequest, r.Partitions, r.RF)
	}
	nodes := make([]Node, 0, len(v.Nodes))
	for _, n := range v.Nodes {
		if !n.Fenced {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) < r.RF {
		return nil, fmt.Errorf("%w: %d of %d", ErrTooFewNodes, len(nodes), r.RF)
	}
	out := make([][]ids.NodeID, r.Partitions)
	taken := make([]int, 0, r.RF) // indexes into nodes, of one partition
	for p := range out {
		taken = append(taken[:0], pick(nodes, nil, byLeaders))
		for len(taken) < r.RF {
			taken = append(taken, pick(nodes, taken, byReplicas))
		}
		out[p] = make([]ids.NodeID, r.RF)
		for i, n := range taken {
			out[p][i] = nodes[n].ID
			nodes[n].Replicas++
		}
		nodes[taken[0]].Leaders++
	}
	return out, nil
}

// pick gives the best node that is not taken: one in a rack not taken yet
// before all others, then the order less.
func pick(nodes []Node, taken []int, less func(a, b *Node) bool) int {
	best, bestNew := -1, false
	for i := range nodes {
		fresh, free := true, true
		for _, t := range taken {
			free = free && t != i
			fresh = fresh && (nodes[i].Rack == "" || nodes[t].Rack != nodes[i].Rack)
		}
		if !free {
			continue
		}
		if best < 0 || fresh && !bestNew || fresh == bestNew && less(&nodes[i], &nodes[best]) {
			best, bestNew = i, fresh
		}
	}
	return best
}

func byLeaders(a, b *Node) bool {
	if a.Leaders != b.Leaders {
		return a.Leaders < b.Leaders
	}
	return byReplicas(a, b)
}

func byReplicas(a, b *Node) bool {
	if a.Replicas != b.Replicas {
		return a.Replicas < b.Replicas
	}
	return a.ID < b.ID
}
