package engine

import (
	"cmp"
	"slices"

	"dyno/engine/ids"
	"dyno/engine/multiraft"
)

// Status is what GET /status answers: the node and its replicas as they are.
type Status struct {
	Node      ids.NodeID        `json:"node"`
	Cluster   string            `json:"cluster"`
	Ready     bool              `json:"ready"`
	Error     string            `json:"error,omitempty"`
	DiskFull  bool              `json:"disk_full"`
	LogBytes  int64             `json:"log_bytes"`
	Metadata  GroupStatus       `json:"metadata"`
	Replicas  []PartitionStatus `json:"partitions"`
	KafkaAddr string            `json:"kafka"`
	AdminAddr string            `json:"admin"`
}

// GroupStatus is the state of one Raft group here. Indexes are inclusive.
type GroupStatus struct {
	Group   ids.GroupID   `json:"group"`
	Role    string        `json:"role"`
	Term    ids.Term      `json:"term"`
	Leader  ids.ReplicaID `json:"leader"`
	Commit  ids.LogIndex  `json:"commit"`
	Applied ids.LogIndex  `json:"applied"`
	First   ids.LogIndex  `json:"first"`
	Last    ids.LogIndex  `json:"last"`
}

// PartitionStatus is one partition replica.
type PartitionStatus struct {
	Topic     string        `json:"topic"`
	Partition ids.Partition `json:"partition"`
	GroupStatus
	LogStart      ids.Offset `json:"log_start"`
	HighWatermark ids.Offset `json:"high_watermark"`
	LogEnd        ids.Offset `json:"log_end"`
}

// Status gives the node's state now; safe for concurrent use.
func (n *Node) Status() Status {
	s := Status{
		Node: n.identity.NodeID, Cluster: n.identity.ClusterID, Ready: n.Ready() == nil,
		DiskFull: n.log.Full(), LogBytes: n.log.Size(), Metadata: groupStatus(n.metaGroup.Status()),
		KafkaAddr: n.KafkaAddr(), AdminAddr: n.AdminAddr(),
	}
	if err := n.Err(); err != nil {
		s.Error = err.Error()
	}
	for _, p := range n.hosts.list() {
		o := p.Offsets()
		s.Replicas = append(s.Replicas, PartitionStatus{
			Topic: p.name, Partition: p.part, GroupStatus: groupStatus(p.group.Status()),
			LogStart: o.LogStart, HighWatermark: o.HighWatermark, LogEnd: o.LogEnd,
		})
	}
	slices.SortFunc(s.Replicas, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return s
}

func groupStatus(s multiraft.Status) GroupStatus {
	role := s.State.String()
	if s.Damage != nil {
		role = "damaged"
	}
	return GroupStatus{
		Group: s.Group, Role: role, Term: s.Term, Leader: s.Leader,
		Commit: s.Commit, Applied: s.Applied, First: s.First, Last: s.Last,
	}
}
