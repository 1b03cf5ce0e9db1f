package engine

import (
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAdminTopicLife(t *testing.T) {
	b := newBed(t)
	adm := b.admin()
	if res, err := adm.ValidateCreateTopics(soon(t), 2, 1, nil, "life"); err != nil || res["life"].Err != nil || res["life"].NumPartitions != 2 {
		t.Fatalf("validate: %+v, %v", res["life"], err)
	}
	if list, err := adm.ListTopics(soon(t)); err != nil || len(list) != 0 {
		t.Fatalf("a topic that was only checked exists: %v, %v", list.Names(), err)
	}
	first := b.topic("life", 2)
	if first.NumPartitions != 2 || first.ReplicationFactor != 1 || first.ID == (kadm.TopicID{}) || len(first.Configs) == 0 {
		t.Errorf("created: %+v", first)
	}
	_, err := adm.CreateTopic(soon(t), 1, 1, nil, "life")
	wantErr(t, "create it again", err, kerr.TopicAlreadyExists)
	b.produce("life", 1, "old")
	if _, err := adm.DeleteTopic(soon(t), "life"); err != nil {
		t.Fatal(err)
	}
	_, err = adm.DeleteTopic(soon(t), "life")
	wantErr(t, "delete it again", err, kerr.UnknownTopicOrPartition)
	second := b.topic("life", 2)
	if second.ID == first.ID {
		t.Error("a topic made again has its old id")
	}
	if start, end := b.offsets("life", 1); start != 0 || end != 0 {
		t.Errorf("a topic made again holds [%d, %d)", start, end)
	}
	b.produce("life", 1, "new")
	b.wantValues("life", 1, 0, "new")
}

// Deleting and making one name from several clients at once leaves one topic
// that works, whatever the order was.
func TestAdminRace(t *testing.T) {
	b := newBed(t)
	b.topic("race", 2)
	var wg sync.WaitGroup
	for range 4 {
		adm := b.admin()
		ctx := soon(t)
		wg.Go(func() {
			for range 15 {
				_, _ = adm.DeleteTopic(ctx, "race") // one of the four wins
				_, _ = adm.CreateTopic(ctx, 2, 1, nil, "race")
			}
		})
	}
	wg.Wait()
	b.produce("race", 0, "x")
	b.produce("race", 1, "y")
	b.wantValues("race", 0, 0, "x")
	if n := len(b.node.hosts.list()); n != 2 {
		t.Errorf("%d partitions are hosted, want 2", n)
	}
	if s := b.node.log.Streams(); len(s) != 3 { // metadata and two partitions
		t.Errorf("streams in the log: %v, want 3", s)
	}
}

func TestAdminCreatePartitions(t *testing.T) {
	b := newBed(t)
	b.topic("grow", 2)
	b.produce("grow", 1, "a")
	adm := b.admin()
	set := func(n int) error {
		res, err := adm.UpdatePartitions(soon(t), n, "grow")
		if err != nil {
			t.Fatal(err)
		}
		return res["grow"].Err
	}
	wantErr(t, "fewer", set(1), kerr.InvalidPartitions)
	wantErr(t, "as many", set(2), kerr.InvalidPartitions)
	wantErr(t, "zero", set(0), kerr.InvalidPartitions)
	if res, err := adm.ValidateUpdatePartitions(soon(t), 4, "grow"); err != nil || res["grow"].Err != nil {
		t.Errorf("validate: %+v %v", res, err)
	}
	if err := set(4); err != nil {
		t.Fatal(err)
	}
	res, err := adm.UpdatePartitions(soon(t), 5, "none")
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "unknown topic", res["none"].Err, kerr.UnknownTopicOrPartition)
	b.produce("grow", 3, "b")
	b.restart()
	b.wantValues("grow", 1, 0, "a")
	b.wantValues("grow", 3, 0, "b")
}

func TestAdminBadTopics(t *testing.T) {
	b := newBed(t)
	b.topic("ex.ists", 1)
	type topic = kmsg.CreateTopicsRequestTopic
	plain := func(name string, set ...func(*topic)) topic {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, 1, 1
		for _, f := range set {
			f(&rt)
		}
		return rt
	}
	config := func(k, v string) func(*topic) {
		return func(rt *topic) {
			rc := kmsg.NewCreateTopicsRequestTopicConfig()
			rc.Name, rc.Value = k, &v
			rt.Configs = append(rt.Configs, rc)
		}
	}
	assign := func(nodes ...int32) func(*topic) {
		return func(rt *topic) {
			rt.NumPartitions, rt.ReplicationFactor = -1, -1
			ra := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			ra.Replicas = nodes
			rt.ReplicaAssignment = append(rt.ReplicaAssignment, ra)
		}
	}
	for name, c := range map[string]struct {
		want   *kerr.Error
		topics []topic
	}{
		"empty name":          {kerr.InvalidTopicException, []topic{plain("")}},
		"dot":                 {kerr.InvalidTopicException, []topic{plain(".")}},
		"dots":                {kerr.InvalidTopicException, []topic{plain("..")}},
		"slash":               {kerr.InvalidTopicException, []topic{plain("a/b")}},
		"space":               {kerr.InvalidTopicException, []topic{plain("a b")}},
		"long":                {kerr.InvalidTopicException, []topic{plain(strings.Repeat("x", 250))}},
		"collides":            {kerr.InvalidTopicException, []topic{plain("ex_ists")}},
		"exists":              {kerr.TopicAlreadyExists, []topic{plain("ex.ists")}},
		"no partitions":       {kerr.InvalidPartitions, []topic{plain("p0", func(t *topic) { t.NumPartitions = 0 })}},
		"minus partitions":    {kerr.InvalidPartitions, []topic{plain("p2", func(t *topic) { t.NumPartitions = -2 })}},
		"too many partitions": {kerr.InvalidPartitions, []topic{plain("pm", func(t *topic) { t.NumPartitions = 1 << 30 })}},
		"no replicas":         {kerr.InvalidReplicationFactor, []topic{plain("r0", func(t *topic) { t.ReplicationFactor = 0 })}},
		"RF above brokers":    {kerr.InvalidReplicationFactor, []topic{plain("r2", func(t *topic) { t.ReplicationFactor = 2 })}},
		"unknown key":         {kerr.InvalidConfig, []topic{plain("c1", config("no.such.key", "1"))}},
		"bad value":           {kerr.InvalidConfig, []topic{plain("c2", config("retention.ms", "soon"))}},
		"bad codec":           {kerr.InvalidConfig, []topic{plain("c3", config("compression.type", "rar"))}},
		"compacted":           {kerr.InvalidConfig, []topic{plain("c4", config("cleanup.policy", "compact"))}},
		"unknown node":        {kerr.InvalidReplicaAssignment, []topic{plain("a1", assign(7))}},
		"node twice":          {kerr.InvalidReplicaAssignment, []topic{plain("a2", assign(1, 1))}},
		"both":                {kerr.InvalidRequest, []topic{plain("a3", assign(1), func(t *topic) { t.NumPartitions = 1 })}},
		"twice":               {kerr.InvalidRequest, []topic{plain("d"), plain("d")}},
	} {
		for _, validate := range []bool{true, false} {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Topics, req.ValidateOnly, req.TimeoutMillis = c.topics, validate, 10_000
			for _, rt := range ask[*kmsg.CreateTopicsResponse](b, b.client(), req).Topics {
				wantCode(t, name, rt.ErrorCode, c.want)
			}
		}
	}
	list, err := b.admin().ListTopics(soon(t))
	if err != nil || len(list) != 1 {
		t.Errorf("topics after bad requests: %v, %v", list.Names(), err)
	}
}

// A batch of topics of which some are bad: the good ones are made.
func TestAdminMixedTopics(t *testing.T) {
	b := newBed(t)
	res, err := b.admin().CreateTopics(soon(t), 1, 1, nil, "good-1", "bad/1", "good-2")
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "bad/1", res["bad/1"].Err, kerr.InvalidTopicException)
	for _, n := range []string{"good-1", "good-2"} {
		if res[n].Err != nil {
			t.Errorf("%s: %v", n, res[n].Err)
		}
		b.produce(n, 0, n)
	}
}

func TestAdminDescribeCluster(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Rack = "r1" })
	m, err := b.admin().BrokerMetadata(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if m.Cluster != "bed" || m.Controller != 1 || len(m.Brokers) != 1 || m.Brokers[0].NodeID != 1 || *m.Brokers[0].Rack != "r1" {
		t.Errorf("metadata: %+v", m)
	}
	resp := ask[*kmsg.DescribeClusterResponse](b, b.client(), kmsg.NewPtrDescribeClusterRequest())
	if resp.ErrorCode != 0 || resp.ClusterID != "bed" || resp.ControllerID != 1 || len(resp.Brokers) != 1 {
		t.Errorf("cluster: %+v", resp)
	}
}
