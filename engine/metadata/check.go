package metadata

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"dyno/engine/ids"
)

// topicNameMax is Kafka's limit (org.apache.kafka.common.internals.Topic): a
// file name of 255 bytes less the room for "-" and a partition number.
const topicNameMax = 249

// CheckTopicName applies Kafka's rules for topic names: 1 to 249 of [a-zA-Z0-9._-],
// not "." or "..". ErrInvalidTopic.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrInvalidTopic)
	case name == "." || name == "..":
		return fmt.Errorf("%w: %q is a directory", ErrInvalidTopic, name)
	case len(name) > topicNameMax:
		return fmt.Errorf("%w: %d characters, the limit is %d", ErrInvalidTopic, len(name), topicNameMax)
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("%w: %q: only letters, digits, '.', '_' and '-'", ErrInvalidTopic, name)
		}
	}
	return nil
}

// collisionKey is equal for names that Kafka refuses side by side, because
// metric names turn '.' into '_'.
func collisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }

// firstReplicaMax bounds the replica ids that ClusterCreated may bring along, so
// that the counter above them cannot run over.
const firstReplicaMax = 1 << 32

func checkText(what, s string, min int) error {
	if len(s) < min || len(s) > textBytesMax {
		return fmt.Errorf("%w: %s has %d bytes, want %d to %d", ErrInvalidRecord, what, len(s), min, textBytesMax)
	}
	return nil
}

func checkAddr(what, addr string) error {
	if err := checkText(what+" address", addr, 0); err != nil {
		return err
	}
	if i := strings.LastIndexByte(addr, ':'); i < 0 || !isPort(addr[i+1:]) {
		return fmt.Errorf("%w: %s address %q: want host:port", ErrInvalidRecord, what, addr)
	}
	return nil
}

// isPort is true for a decimal port, 0 included: tests bind to one.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

func checkNode(n ids.NodeID) error {
	if n <= 0 {
		return fmt.Errorf("%w: node id %d", ErrInvalidRecord, n)
	}
	return nil
}

// checkAssignment wants at least one partition, and in each the same number of
// distinct nodes.
func checkAssignment(parts [][]ids.NodeID) error {
	if len(parts) < 1 || len(parts) > PartitionsMax {
		return fmt.Errorf("%w: %d, want 1 to %d", ErrInvalidCount, len(parts), PartitionsMax)
	}
	rf := len(parts[0])
	if rf < 1 || rf > ReplicasMax {
		return fmt.Errorf("%w: %d replicas, want 1 to %d", ErrInvalidReplicas, rf, ReplicasMax)
	}
	for p, nodes := range parts {
		if len(nodes) != rf {
			return fmt.Errorf("%w: partition %d has %d replicas, partition 0 has %d", ErrInvalidReplicas, p, len(nodes), rf)
		}
		for i, n := range nodes {
			if n <= 0 {
				return fmt.Errorf("%w: partition %d: node %d", ErrInvalidReplicas, p, n)
			}
			for _, m := range nodes[:i] {
				if m == n {
					return fmt.Errorf("%w: partition %d names node %d twice", ErrInvalidReplicas, p, n)
				}
			}
		}
	}
	return nil
}

// checkChange judges a set of configs and deletions against a table.
func checkChange(table []Key, set map[string]string, del []string) error {
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if err := checkValue(table, k, set[k]); err != nil {
			return err
		}
	}
	for _, k := range del {
		if find(table, k) == nil {
			return fmt.Errorf("%w: unknown key %q", ErrInvalidConfig, k)
		}
		if _, both := set[k]; both {
			return fmt.Errorf("%w: %q is set and deleted at once", ErrInvalidConfig, k)
		}
	}
	return nil
}

func (r *ClusterCreated) check() error {
	if err := checkText("cluster id", r.ClusterID, 1); err != nil {
		return err
	}
	if r.Format < 1 || len(r.Replicas) < 1 || len(r.Replicas) > ReplicasMax {
		return fmt.Errorf("%w: format %d with %d replicas", ErrInvalidRecord, r.Format, len(r.Replicas))
	}
	for i, a := range r.Replicas {
		if a.Node <= 0 || a.ID == 0 || a.ID > firstReplicaMax {
			return fmt.Errorf("%w: replica %d on node %d", ErrInvalidRecord, a.ID, a.Node)
		}
		for _, b := range r.Replicas[:i] {
			if a.Node == b.Node || a.ID == b.ID {
				return fmt.Errorf("%w: replica %d on node %d is named twice", ErrInvalidRecord, a.ID, a.Node)
			}
		}
	}
	return nil
}

func (r *RegisterBroker) check() error {
	if err := checkNode(r.Node); err != nil {
		return err
	}
	for _, a := range []struct{ what, addr string }{{"kafka", r.Kafka}, {"raft", r.Raft}, {"admin", r.Admin}} {
		if err := checkAddr(a.what, a.addr); err != nil {
			return err
		}
	}
	if err := checkText("directory", r.Directory, 0); err != nil {
		return err
	}
	return checkText("rack", r.Rack, 0)
}

func (r *FenceBroker) check() error { return checkNode(r.Node) }

func (r *CreateTopic) check() error {
	if err := CheckTopicName(r.Name); err != nil {
		return err
	}
	if r.ID == (ids.TopicID{}) {
		return fmt.Errorf("%w: topic %q has no id", ErrInvalidRecord, r.Name)
	}
	return checkAssignment(r.Partitions)
}

func (r *CreateTopic) checkTable() error { return checkChange(topicKeys, r.Configs, nil) }

func (r *DeleteTopic) check() error { return nil }

func (r *AddPartitions) check() error {
	if err := checkAssignment(r.Partitions); err != nil {
		return err
	}
	if r.From < 1 || int(r.From)+len(r.Partitions) > PartitionsMax {
		return fmt.Errorf("%w: %d + %d, the limit is %d", ErrInvalidCount, r.From, len(r.Partitions), PartitionsMax)
	}
	return nil
}

func (r *SetTopicConfigs) check() error { return nil }

func (r *SetTopicConfigs) checkTable() error { return checkChange(topicKeys, r.Set, r.Delete) }

func (r *SetBrokerConfigs) check() error {
	if r.Node == 0 {
		return nil
	}
	return checkNode(r.Node)
}

func (r *SetBrokerConfigs) checkTable() error {
	if err := checkChange(brokerKeys, r.Set, r.Delete); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(r.Set)) {
		if find(brokerKeys, k).ReadOnly {
			return fmt.Errorf("%w: %q can only be set in the node's configuration file", ErrInvalidConfig, k)
		}
	}
	return nil
}

func (r *AllocateProducerIDs) check() error {
	if err := checkNode(r.Node); err != nil {
		return err
	}
	if r.Count < 1 || r.Count > ProducerBlockMax {
		return fmt.Errorf("%w: block of %d producer ids, want 1 to %d", ErrInvalidRecord, r.Count, ProducerBlockMax)
	}
	return nil
}

func (r *SetISR) check() error {
	if err := checkNode(r.Node); err != nil {
		return err
	}
	if n := len(r.Partitions); n < 1 || n > ISRChangesMax {
		return fmt.Errorf("%w: in-sync replicas of %d partitions, want 1 to %d", ErrInvalidRecord, n, ISRChangesMax)
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Partition < 0 || p.Term == 0 || !slices.Contains(p.ISR, r.Node) || !slices.IsSorted(p.ISR) ||
			len(slices.Compact(slices.Clone(p.ISR))) != len(p.ISR) {
			return fmt.Errorf("%w: in-sync replicas %v of partition %d in term %d", ErrInvalidRecord, p.ISR, p.Partition, p.Term)
		}
	}
	return nil
}

func (r *Reassign) check() error {
	if n := len(r.Partitions); n < 1 || n > PartitionsMax {
		return fmt.Errorf("%w: replicas of %d partitions, want 1 to %d", ErrInvalidRecord, n, PartitionsMax)
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Partition < 0 {
			return fmt.Errorf("%w: partition %d", ErrInvalidRecord, p.Partition)
		}
		if len(p.Nodes) == 0 {
			continue
		}
		if err := checkAssignment([][]ids.NodeID{p.Nodes}); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reassigned) check() error {
	if r.Partition < 0 {
		return fmt.Errorf("%w: partition %d", ErrInvalidRecord, r.Partition)
	}
	return checkAssignment([][]ids.NodeID{r.Nodes})
}
