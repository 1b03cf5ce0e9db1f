package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dyno/engine/gossip"
	"dyno/engine/ids"
)

// ClusterStatus is what GET /cluster answers: the cluster as this node sees it.
type ClusterStatus struct {
	ID         string            `json:"id"`
	Seen       ids.NodeID        `json:"seen_by"`
	Controller ids.NodeID        `json:"controller"` // 0: unknown
	Brokers    []BrokerStatus    `json:"brokers"`
	Partitions []PartitionLayout `json:"partitions"`
	// Gossip is what this node believes of the others from probing them: it decides
	// nothing, and may differ from Brokers, which is what the metadata says.
	Gossip []gossip.Member `json:"gossip,omitempty"`
}

// BrokerStatus is one node.
type BrokerStatus struct {
	Node  ids.NodeID `json:"node"`
	State string     `json:"state"` // serving, draining, fenced
	Kafka string     `json:"kafka"`
	Raft  string     `json:"raft"`
	Admin string     `json:"admin"`
	Rack  string     `json:"rack,omitempty"`
	Leads int        `json:"leads"` // partitions
	Holds int        `json:"holds"` // replicas
}

// PartitionLayout is where one partition lies. Replicas has the preferred leader
// first; Offline are those whose node is fenced or unknown.
type PartitionLayout struct {
	Topic     string          `json:"topic"`
	Partition ids.Partition   `json:"partition"`
	Leader    ids.NodeID      `json:"leader"` // 0: none known
	Epoch     ids.LeaderEpoch `json:"epoch"`
	Replicas  []ids.NodeID    `json:"replicas"`
	ISR       []ids.NodeID    `json:"isr"`
	Offline   []ids.NodeID    `json:"offline,omitempty"`
	Adding    []ids.NodeID    `json:"adding,omitempty"`
	Removing  []ids.NodeID    `json:"removing,omitempty"`
}

// ClusterStatus gives the cluster as this node sees it now; safe for concurrent
// use.
func (n *Node) ClusterStatus() ClusterStatus {
	img := n.meta.Image()
	s := ClusterStatus{ID: n.identity.ClusterID, Seen: n.identity.NodeID, Controller: n.controller(), Partitions: []PartitionLayout{}}
	if n.peers != nil {
		s.Gossip = n.peers.gossip.Members()
	}
	at := map[ids.NodeID]*BrokerStatus{}
	for _, b := range img.Brokers() {
		state := "serving"
		switch {
		case b.Fenced:
			state = "fenced"
		case b.Draining:
			state = "draining"
		}
		s.Brokers = append(s.Brokers, BrokerStatus{Node: b.Node, State: state, Kafka: b.Kafka, Raft: b.Raft, Admin: b.Admin, Rack: b.Rack})
	}
	for i := range s.Brokers {
		at[s.Brokers[i].Node] = &s.Brokers[i]
	}
	for _, t := range img.Topics() {
		view := backend{n}.view(t)
		for i := range view.Partitions {
			v := &view.Partitions[i]
			s.Partitions = append(s.Partitions, PartitionLayout{
				Topic: t.Name, Partition: ids.Partition(i), Leader: v.Leader, Epoch: v.Epoch,
				Replicas: v.Replicas, ISR: v.ISR, Offline: v.Offline, Adding: v.Adding, Removing: v.Removing,
			})
			if b := at[v.Leader]; b != nil {
				b.Leads++
			}
			for _, r := range v.Replicas {
				if b := at[r]; b != nil {
					b.Holds++
				}
			}
		}
	}
	return s
}

// operationPatience bounds what POST /cluster/… may take.
const operationPatience = 30 * time.Second

func (a *adminServer) cluster(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(a.node.ClusterStatus()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// operate runs one operation on the partition that the query names.
func (a *adminServer) operate(do func(ctx context.Context, topic string, p ids.Partition, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), operationPatience)
		defer cancel()
		p, err := strconv.ParseInt(r.FormValue("partition"), 10, 32)
		if err != nil || p < 0 || r.FormValue("topic") == "" {
			http.Error(w, "want topic=NAME and partition=N", http.StatusBadRequest)
			return
		}
		if err := do(ctx, r.FormValue("topic"), ids.Partition(p), r); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// move is POST /cluster/move?topic=T&partition=N&nodes=1,2,3; without nodes a move
// under way is taken back.
func (a *adminServer) move(ctx context.Context, topic string, p ids.Partition, r *http.Request) error {
	var nodes []ids.NodeID
	for _, s := range strings.FieldsFunc(r.FormValue("nodes"), func(c rune) bool { return c == ',' }) {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return fmt.Errorf("node %q: want a number", s)
		}
		nodes = append(nodes, ids.NodeID(n))
	}
	return backend{a.node}.Reassign(ctx, topic, p, nodes)
}

// transfer is POST /cluster/transfer?topic=T&partition=N: the preferred replica
// becomes the leader.
func (a *adminServer) transfer(ctx context.Context, topic string, p ids.Partition, _ *http.Request) error {
	return backend{a.node}.ElectLeader(ctx, topic, p)
}
