package kafka

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

func electIn(topic string, parts ...int32) *kmsg.ElectLeadersRequest {
	req := kmsg.NewPtrElectLeadersRequest()
	t := kmsg.NewElectLeadersRequestTopic()
	t.Topic, t.Partitions = topic, parts
	req.Topics, req.TimeoutMillis, req.Version = append(req.Topics, t), 1000, 2
	return req
}

func reassignIn(topic string, p int32, to ...int32) *kmsg.AlterPartitionAssignmentsRequest {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	rp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	rp.Partition, rp.Replicas = p, to
	t.Topic, t.Partitions = topic, append(t.Partitions, rp)
	req.Topics, req.TimeoutMillis, req.Version = append(req.Topics, t), 1000, 1
	return req
}

func listIn(topic string, parts ...int32) *kmsg.ListPartitionReassignmentsRequest {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	t := kmsg.NewListPartitionReassignmentsRequestTopic()
	t.Topic, t.Partitions = topic, parts
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 1000
	return req
}

// three brokers: 1 here, 2 fenced, 3 live.
func startThree(t *testing.T) (*fakeNode, *raw) {
	_, n, addr := start(t)
	n.settle("", Broker{ID: 3, Host: "third", Port: 9, Rack: "r"})
	return n, dial(t, addr)
}

func TestElectLeaders(t *testing.T) {
	n, c := startThree(t)
	topic := n.add("t", 5)
	setUp := func() {
		for i, p := range topic.parts {
			p.place(3, 1)
			p.lead([]ids.NodeID{1, 1, 1, 3, 1}[i])
		}
		topic.parts[1].with(func(p *fakePart) { p.isr = []ids.NodeID{1} })
		topic.parts[2].with(func(p *fakePart) { p.isr = nil })
	}
	want := []code{0, codePreferredUnavailable, codeEligibleUnavailable, codeElectionNotNeeded, 0}
	for v := int16(0); v <= 2; v++ {
		setUp()
		req := electIn("t", 0, 1, 2, 3, 4, 5, -1)
		req.Topics = append(req.Topics, electIn("unknown", 0).Topics...)
		req.Version = v
		r := c.ask(req).(*kmsg.ElectLeadersResponse)
		if r.ErrorCode != 0 || len(r.Topics) != 2 || len(r.Topics[0].Partitions) != 7 || len(r.Topics[1].Partitions) != 1 {
			t.Fatalf("version %d: %+v", v, r)
		}
		got := append(r.Topics[0].Partitions, r.Topics[1].Partitions...)
		for i, e := range append(want, codeUnknownPartition, codeUnknownPartition, codeUnknownPartition) {
			if code(got[i].ErrorCode) != e || (got[i].ErrorMessage == nil) != (e == 0) {
				t.Errorf("version %d partition %d: %+v, want %d", v, got[i].Partition, got[i], e)
			}
		}
		if leader, _ := topic.parts[0].Leader(); leader != 3 {
			t.Errorf("version %d: node %d leads", v, leader)
		}

		setUp()
		req.Topics = nil
		r = c.ask(req).(*kmsg.ElectLeadersResponse)
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 4 {
			t.Fatalf("version %d, all: %+v", v, r)
		}
		for _, p := range r.Topics[0].Partitions {
			if p.Partition == 3 || code(p.ErrorCode) != want[p.Partition] {
				t.Errorf("version %d, all: %+v", v, p)
			}
		}
		req.Topics = []kmsg.ElectLeadersRequestTopic{}
		if r = c.ask(req).(*kmsg.ElectLeadersResponse); len(r.Topics) != 0 {
			t.Errorf("version %d: no topics are %+v", v, r)
		}
	}
}

// TestElectLeadersRefused checks what never elects, and a time that ends.
func TestElectLeadersRefused(t *testing.T) {
	n, c := startThree(t)
	topic := n.add("t", 2)
	for _, p := range topic.parts {
		p.place(3, 1)
	}
	for how, word := range map[int8]string{electUnclean: "unclean", 2: "unknown", -1: "unknown"} {
		for _, all := range []bool{false, true} {
			req := electIn("t", 0, 1)
			req.ElectionType = how
			if all {
				req.Topics = nil
			}
			ps := c.ask(req).(*kmsg.ElectLeadersResponse).Topics[0].Partitions
			if len(ps) != 2 || code(ps[1].ErrorCode) != codeInvalidRequest || !strings.Contains(*ps[1].ErrorMessage, word) {
				t.Errorf("type %d: %+v", how, ps)
			}
		}
	}
	topic.parts[0].with(func(p *fakePart) { p.stuck = true })
	req := electIn("t", 0, 1)
	req.TimeoutMillis = 10
	for _, p := range c.ask(req).(*kmsg.ElectLeadersResponse).Topics[0].Partitions {
		if code(p.ErrorCode) != codeRequestTimedOut {
			t.Errorf("out of time: %+v", p)
		}
	}
	if leader, _ := topic.parts[1].Leader(); leader != 1 {
		t.Errorf("an election began when the time was over: %d leads", leader)
	}
}

func TestReassign(t *testing.T) {
	n, c := startThree(t)
	topic := n.add("t", 2)
	n.add("u", 1)
	ask := func(req *kmsg.AlterPartitionAssignmentsRequest) (code, *string) {
		r := c.ask(req).(*kmsg.AlterPartitionAssignmentsResponse)
		if req.Version >= 1 && r.AllowReplicationFactorChange != req.AllowReplicationFactorChange {
			t.Errorf("%+v does not repeat the request", r)
		}
		p := r.Topics[0].Partitions[0]
		return code(p.ErrorCode), p.ErrorMessage
	}
	for v := int16(0); v <= 1; v++ {
		fixed, fixedMore := reassignIn("t", 1, 3), reassignIn("t", 1, 1, 3)
		fixed.AllowReplicationFactorChange, fixedMore.AllowReplicationFactorChange = false, false
		forbidden := codeInvalidRF
		if v == 0 {
			forbidden = codeNone
		}
		for i, x := range []struct {
			req              *kmsg.AlterPartitionAssignmentsRequest
			want             code
			replicas, ad, re []ids.NodeID // of t-1 afterwards
		}{
			{reassignIn("t", 1), codeNoReassignment, []ids.NodeID{1}, nil, nil},
			{reassignIn("t", 1, 3, 3), codeInvalidReplicas, []ids.NodeID{1}, nil, nil},
			{reassignIn("t", 1, 1, 2, 3, 1), codeInvalidReplicas, []ids.NodeID{1}, nil, nil},
			{reassignIn("t", 1, 4), codeInvalidReplicas, []ids.NodeID{1}, nil, nil},
			{reassignIn("t", 1, -1), codeInvalidReplicas, []ids.NodeID{1}, nil, nil},
			{reassignIn("t", 2, 1), codeUnknownPartition, []ids.NodeID{1}, nil, nil},
			{reassignIn("x", 1, 1), codeUnknownPartition, []ids.NodeID{1}, nil, nil},
			{reassignIn("x", 1), codeUnknownPartition, []ids.NodeID{1}, nil, nil},
			{fixed, codeNone, []ids.NodeID{3, 1}, []ids.NodeID{3}, []ids.NodeID{1}},
			{reassignIn("t", 1, 2, 1), codeNone, []ids.NodeID{2, 1}, []ids.NodeID{2}, nil},
			{reassignIn("t", 1), codeNone, []ids.NodeID{1}, nil, nil},
			{fixedMore, forbidden, nil, nil, nil},
		} {
			x.req.Version = v
			e, words := ask(x.req)
			if e != x.want || (words == nil) != (e == codeNone) {
				t.Errorf("version %d, step %d: code %d, want %d", v, i, e, x.want)
			}
			now := topic.view().Partitions[1]
			if x.replicas != nil && !(slices.Equal(now.Replicas, x.replicas) && slices.Equal(now.Adding, x.ad) && slices.Equal(now.Removing, x.re)) {
				t.Errorf("version %d, step %d: %+v", v, i, now)
			}
		}
		empty := reassignIn("t", 1)
		empty.Version, empty.Topics[0].Partitions[0].Replicas = v, []int32{}
		if e, _ := ask(empty); e != codeInvalidReplicas {
			t.Errorf("version %d, no replicas: code %d", v, e)
		}
		for _, p := range []string{"t", "u", "x"} { // those that do not exist have one, too
			late := reassignIn(p, 0, 3)
			late.Version, late.TimeoutMillis = v, 0
			if e, _ := ask(late); e != codeRequestTimedOut {
				t.Errorf("version %d, no time: code %d", v, e)
			}
		}
		topic.parts[1].place(1)
		topic.parts[1].with(func(p *fakePart) { p.adding = nil })
	}
}

func TestListReassignments(t *testing.T) {
	n, c := startThree(t)
	a := n.add("a", 3)
	n.add("b", 1)
	list := func(req *kmsg.ListPartitionReassignmentsRequest) []kmsg.ListPartitionReassignmentsResponseTopic {
		r := c.ask(req).(*kmsg.ListPartitionReassignmentsResponse)
		if r.ErrorCode != 0 || r.ErrorMessage != nil {
			t.Errorf("%+v", r)
		}
		return r.Topics
	}
	all := listIn("")
	all.Topics = nil
	if got := list(all); len(got) != 0 {
		t.Errorf("nothing is under way: %+v", got)
	}
	c.ask(reassignIn("a", 1, 3, 1))
	c.ask(reassignIn("a", 2, 3))
	if got := list(all); len(got) != 1 || len(got[0].Partitions) != 2 {
		t.Errorf("all: %+v", got)
	}
	named := listIn("a", 0, 2, 3, -1)
	named.Topics = append(named.Topics, listIn("b", 0).Topics[0], listIn("x", 0).Topics[0])
	got := list(named)
	if len(got) != 1 || len(got[0].Partitions) != 1 {
		t.Fatalf("named: %+v", got)
	}
	p := got[0].Partitions[0]
	if p.Partition != 2 || !slices.Equal(p.Replicas, []int32{3, 1}) || !slices.Equal(p.AddingReplicas, []int32{3}) || !slices.Equal(p.RemovingReplicas, []int32{1}) {
		t.Errorf("named: %+v", p)
	}
	if f := factor(&a.view().Partitions[1]); f != 2 {
		t.Errorf("factor %d", f)
	}
	c.ask(reassignIn("a", 2))
	if got := list(all); len(got[0].Partitions) != 1 || got[0].Partitions[0].Partition != 1 {
		t.Errorf("after a cancel: %+v", got)
	}
	all.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{}
	if got := list(all); len(got) != 0 {
		t.Errorf("no topics are %+v", got)
	}
}

// TestKadmMoves runs the admin client over these APIs.
func TestKadmMoves(t *testing.T) {
	_, n, addr := start(t)
	n.settle("", Broker{ID: 3, Host: "third", Port: 9})
	p := n.add("t", 1).parts[0]
	adm := kadm.NewClient(client(t, addr))
	ctx := within(t, 10*time.Second)
	var to kadm.AlterPartitionAssignmentsReq
	to.Assign("t", 0, []int32{3, 1})
	if r, err := adm.AlterPartitionAssignments(ctx, to); err != nil || r.Error() != nil {
		t.Errorf("assign: %v %+v", err, r)
	}
	var set kadm.TopicsSet
	set.Add("t", 0)
	now, err := adm.ListPartitionReassignments(ctx, set)
	if err != nil || len(now["t"]) != 1 || !slices.Equal(now["t"][0].AddingReplicas, []int32{3}) {
		t.Errorf("list: %v %+v", err, now)
	}
	p.place(3, 1)
	if r, err := adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set); err != nil || r["t"][0].Err != nil {
		t.Errorf("elect: %v %+v", err, r)
	}
	if leader, _ := p.Leader(); leader != 3 {
		t.Errorf("node %d leads", leader)
	}
}
