package kafka

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

func str(s string) *string { return &s }

// requests makes one filled request of every API for topic t.
func requests(t *fakeTopic) []kmsg.Request {
	lo := kmsg.NewPtrListOffsetsRequest()
	lo.ReplicaID, lo.TimeoutMillis = -1, 1000
	lt := kmsg.NewListOffsetsRequestTopic()
	lt.Topic = t.name
	lp := kmsg.NewListOffsetsRequestTopicPartition()
	lp.Timestamp = timeLatest
	lt.Partitions = append(lt.Partitions, lp)
	lo.Topics = append(lo.Topics, lt)

	md := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = str(t.name)
	md.Topics = append(md.Topics, mt)

	av := kmsg.NewPtrApiVersionsRequest()
	av.ClientSoftwareName, av.ClientSoftwareVersion = "tester", "1.0"

	ct := kmsg.NewPtrCreateTopicsRequest()
	nt := kmsg.NewCreateTopicsRequestTopic()
	nt.Topic, nt.NumPartitions, nt.ReplicationFactor = "made", 2, 1
	nc := kmsg.NewCreateTopicsRequestTopicConfig()
	nc.Name, nc.Value = "retention.ms", str("5")
	nt.Configs = append(nt.Configs, nc)
	ct.Topics, ct.ValidateOnly, ct.TimeoutMillis = append(ct.Topics, nt), true, 1000

	dt := kmsg.NewPtrDeleteTopicsRequest()
	dt.TopicNames = []string{"gone"}
	dd := kmsg.NewDeleteTopicsRequestTopic()
	dd.Topic = str("gone")
	dt.Topics, dt.TimeoutMillis = append(dt.Topics, dd), 1000

	all := append(requestsAbout(t), lo, md, av, ct, dt, kmsg.NewPtrDescribeClusterRequest(),
		produceTo(0, t, 0, -1, batch(1, 1, -1, -1, -1)), fetchFrom(0, t, 0, 0))
	return append(all, requestsToMove(t)...)
}

// requestsToMove makes those that say where the replicas and the leader are.
func requestsToMove(t *fakeTopic) []kmsg.Request {
	return []kmsg.Request{electIn(t.name, 0), reassignIn(t.name, 0, 1), listIn(t.name, 0)}
}

// requestsAbout makes those that administer a topic that is there.
func requestsAbout(t *fakeTopic) []kmsg.Request {
	dr := kmsg.NewPtrDeleteRecordsRequest()
	drt := kmsg.NewDeleteRecordsRequestTopic()
	drt.Topic = t.name
	drp := kmsg.NewDeleteRecordsRequestTopicPartition()
	drt.Partitions = append(drt.Partitions, drp)
	dr.Topics, dr.TimeoutMillis = append(dr.Topics, drt), 1000

	ip := kmsg.NewPtrInitProducerIDRequest()
	ip.ProducerID, ip.ProducerEpoch = -1, -1

	oe := kmsg.NewPtrOffsetForLeaderEpochRequest()
	ot := kmsg.NewOffsetForLeaderEpochRequestTopic()
	ot.Topic = t.name
	op := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	op.CurrentLeaderEpoch, op.LeaderEpoch = -1, 1
	ot.Partitions = append(ot.Partitions, op)
	oe.Topics = append(oe.Topics, ot)

	dc := kmsg.NewPtrDescribeConfigsRequest()
	dcr := kmsg.NewDescribeConfigsRequestResource()
	dcr.ResourceType, dcr.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
	dc.Resources, dc.IncludeSynonyms, dc.IncludeDocumentation = append(dc.Resources, dcr), true, true

	cp := kmsg.NewPtrCreatePartitionsRequest()
	cpt := kmsg.NewCreatePartitionsRequestTopic()
	cpt.Topic, cpt.Count = t.name, 5
	cp.Topics, cp.ValidateOnly, cp.TimeoutMillis = append(cp.Topics, cpt), true, 1000

	ac := kmsg.NewPtrIncrementalAlterConfigsRequest()
	acr := kmsg.NewIncrementalAlterConfigsRequestResource()
	acr.ResourceType, acr.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
	acc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	acc.Name, acc.Value = "retention.ms", str("7")
	acr.Configs = append(acr.Configs, acc)
	ac.Resources = append(ac.Resources, acr)

	return []kmsg.Request{dr, ip, oe, dc, cp, ac}
}

// request picks one kind of request for topic t.
func request[R kmsg.Request](t *fakeTopic) R {
	for _, r := range requests(t) {
		if is, ok := r.(R); ok {
			return is
		}
	}
	panic("BUG: no such request")
}

// TestEveryVersion sends a filled request of every served version of every API
// and decodes the reply with kmsg: every byte of both must be accounted for.
func TestEveryVersion(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	fill(topic.parts[0], 3)
	c := dial(t, addr)
	seen := map[int16]bool{}
	for _, req := range requests(topic) {
		a := apis[req.Key()]
		seen[req.Key()] = true
		for v := a.min; v <= a.max; v++ {
			req.SetVersion(v)
			if a.flexible <= v != req.IsFlexible() {
				t.Fatalf("%s: flexible from %d is wrong", a.name, a.flexible)
			}
			if r, ok := req.(*kmsg.ProduceRequest); ok {
				r.Topics[0].Partitions[0].Records = batch(1, 1, -1, -1, -1)
			}
			resp := c.ask(req)
			if err := firstError(resp); err != nil && req.Key() != 20 {
				t.Errorf("%s version %d: %v", a.name, v, err)
			}
		}
	}
	for key := range apis {
		if apis[key].name != "" && !seen[int16(key)] {
			t.Errorf("%s is served and not tested", apis[key].name)
		}
	}
}

// firstError digs the first error code out of the replies that have it one or
// two levels down.
func firstError(r kmsg.Response) error {
	var codes []int16
	switch r := r.(type) {
	case *kmsg.ListOffsetsResponse:
		codes = append(codes, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.MetadataResponse:
		codes = append(codes, r.Topics[0].ErrorCode, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.ApiVersionsResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.CreateTopicsResponse:
		codes = append(codes, r.Topics[0].ErrorCode)
	case *kmsg.DeleteRecordsResponse:
		codes = append(codes, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.InitProducerIDResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.OffsetForLeaderEpochResponse:
		codes = append(codes, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.DescribeConfigsResponse:
		codes = append(codes, r.Resources[0].ErrorCode)
	case *kmsg.CreatePartitionsResponse:
		codes = append(codes, r.Topics[0].ErrorCode)
	case *kmsg.IncrementalAlterConfigsResponse:
		codes = append(codes, r.Resources[0].ErrorCode)
	case *kmsg.AlterPartitionAssignmentsResponse:
		codes = append(codes, r.ErrorCode, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.ListPartitionReassignmentsResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.DescribeClusterResponse:
		codes = append(codes, r.ErrorCode)
	}
	for _, c := range codes {
		if c != 0 {
			return kerr.ErrorForCode(c)
		}
	}
	return nil
}

func TestApiVersions(t *testing.T) {
	_, _, addr := start(t)
	c := dial(t, addr)
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "tester", "1.0"
	resp := c.ask(req).(*kmsg.ApiVersionsResponse)
	for _, k := range resp.ApiKeys {
		a := apis[k.ApiKey]
		if k.MaxVersion != a.max || k.ApiKey != keyProduce && k.MinVersion != a.min || k.ApiKey == keyProduce && k.MinVersion != 0 {
			t.Errorf("%s is advertised as %d-%d", a.name, k.MinVersion, k.MaxVersion)
		}
	}
	req.ClientSoftwareName = "bad name!"
	if resp = c.ask(req).(*kmsg.ApiVersionsResponse); code(resp.ErrorCode) != codeInvalidRequest {
		t.Errorf("bad software name: %d", resp.ErrorCode)
	}
	// A version nobody knows, with a body nobody can read, is answered in version 0.
	c.corr++
	c.write(append(append([]byte{0, 0, 0, 19, 0, 18, 0, 99, 0, 0, 0, byte(c.corr), 0, 4}, "test"...), 1, 2, 3, 4, 5))
	b, err := c.next(c.corr)
	if err != nil {
		t.Fatal(err)
	}
	req.Version = 0
	resp = parse(t, req, b).(*kmsg.ApiVersionsResponse)
	if code(resp.ErrorCode) != codeUnsupportedVersion || len(resp.ApiKeys) != 17 {
		t.Errorf("unknown version: %+v", resp)
	}
}

// TestKadm runs the admin client over everything it has for these APIs.
func TestKadm(t *testing.T) {
	_, n, addr := start(t)
	adm := kadm.NewClient(client(t, addr))
	ctx := within(t, 10*time.Second)
	made, err := adm.CreateTopics(ctx, 3, 1, map[string]*string{"retention.ms": str("9")}, "a", "b")
	if err != nil || made["a"].Err != nil || made["a"].NumPartitions != 3 || made["a"].ID == (kadm.TopicID{}) {
		t.Fatalf("create: %v %+v", err, made)
	}
	for name, want := range map[string]error{"a": kerr.TopicAlreadyExists, "bad/name": kerr.InvalidTopicException} {
		if r, _ := adm.CreateTopic(ctx, 1, 1, nil, name); !errors.Is(r.Err, want) {
			t.Errorf("create %q: %v, want %v", name, r.Err, want)
		}
	}
	if r, _ := adm.CreateTopic(ctx, 0, 1, nil, "c"); !errors.Is(r.Err, kerr.InvalidPartitions) {
		t.Errorf("zero partitions: %v", r.Err)
	}
	if r, _ := adm.CreateTopic(ctx, 1, 3, nil, "c"); !errors.Is(r.Err, kerr.InvalidReplicationFactor) {
		t.Errorf("replication factor above brokers: %v", r.Err)
	}
	if r, _ := adm.CreateTopic(ctx, 1, 1, map[string]*string{"no.such.key": str("1")}, "c"); !errors.Is(r.Err, kerr.InvalidConfig) {
		t.Errorf("unknown config: %v", r.Err)
	}
	if r, err := adm.CreatePartitions(ctx, 2, "a"); err != nil || r["a"].Err != nil || len(n.find("a").view().Partitions) != 5 {
		t.Errorf("create partitions: %v %+v", err, r)
	}
	fill(n.find("a").parts[1], 4)
	ends, err := adm.ListEndOffsets(ctx, "a")
	if o, _ := ends.Lookup("a", 1); err != nil || o.Offset != 4 {
		t.Errorf("end offsets: %v %+v", err, o)
	}
	var cut kadm.Offsets
	cut.AddOffset("a", 1, 3, -1)
	del, err := adm.DeleteRecords(ctx, cut)
	if r, _ := del.Lookup("a", 1); err != nil || r.Err != nil || r.LowWatermark != 3 {
		t.Errorf("delete records: %v %+v", err, r)
	}
	starts, _ := adm.ListStartOffsets(ctx, "a")
	if o, _ := starts.Lookup("a", 1); o.Offset != 3 {
		t.Errorf("start offset %+v", o)
	}
	alter := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: str("77")}}
	if r, err := adm.AlterTopicConfigs(ctx, alter, "a"); err != nil || r[0].Err != nil {
		t.Errorf("alter: %v %+v", err, r)
	}
	alter[0].Name = "no.such.key"
	if r, _ := adm.AlterTopicConfigs(ctx, alter, "a"); !errors.Is(r[0].Err, kerr.InvalidConfig) {
		t.Errorf("alter of an unknown key: %v", r[0].Err)
	}
	conf, err := adm.DescribeTopicConfigs(ctx, "a")
	if err != nil || conf[0].Err != nil || len(conf[0].Configs) != 1 || *conf[0].Configs[0].Value != "77" {
		t.Errorf("describe: %v %+v", err, conf)
	}
	broker, err := adm.DescribeBrokerConfigs(ctx, 1)
	if err != nil || len(broker[0].Configs) != 2 || broker[0].Configs[1].Value != nil {
		t.Errorf("describe broker: %v %+v", err, broker)
	}
	meta, err := adm.Metadata(ctx)
	if err != nil || meta.Cluster != "fake-cluster" || meta.Controller != 1 || len(meta.Brokers) != 1 || len(meta.Topics) != 2 {
		t.Errorf("metadata: %v %+v", err, meta)
	}
	if r, err := adm.DeleteTopics(ctx, "b", "nope"); err != nil || r["b"].Err != nil || !errors.Is(r["nope"].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("delete: %v %+v", err, r)
	}
}

func TestMetadata(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	n.add("u", 1)
	c := dial(t, addr)
	ask := func(v int16, auto bool, topics ...kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics, req.AllowAutoTopicCreation = v, topics, auto
		return c.ask(req).(*kmsg.MetadataResponse)
	}
	named := func(s string) kmsg.MetadataRequestTopic { return kmsg.MetadataRequestTopic{Topic: &s} }
	byID := func(id ids.TopicID) kmsg.MetadataRequestTopic { return kmsg.MetadataRequestTopic{TopicID: id} }
	for v := int16(0); v <= 13; v++ {
		if got := len(ask(v, false).Topics); got != 2 {
			t.Errorf("version %d: all topics are %d", v, got)
		}
		if v > 0 {
			req := kmsg.NewPtrMetadataRequest()
			req.Version, req.Topics = v, []kmsg.MetadataRequestTopic{}
			if got := len(c.ask(req).(*kmsg.MetadataResponse).Topics); got != 0 {
				t.Errorf("version %d: no topics are %d", v, got)
			}
		}
	}
	one := func(r *kmsg.MetadataResponse) code { return code(r.Topics[0].ErrorCode) }
	if e := one(ask(12, false, byID(topic.id))); e != codeNone {
		t.Errorf("by id: %d", e)
	}
	if e := one(ask(12, false, byID(ids.TopicID{7}))); e != codeUnknownTopicID {
		t.Errorf("unknown id: %d", e)
	}
	if e := one(ask(10, false, byID(topic.id))); e != codeInvalidRequest {
		t.Errorf("id before version 12: %d", e)
	}
	for _, bad := range []string{"", ".", "..", "a b", "ä", strings.Repeat("x", 250)} {
		if e := one(ask(9, true, named(bad))); e != codeInvalidTopic {
			t.Errorf("name %q: %d", bad, e)
		}
	}
	if e := one(ask(9, true, named("new"))); e != codeUnknownPartition {
		t.Errorf("broker forbids auto-create: %d", e)
	}
	n.allowAuto()
	if e := one(ask(9, false, named("new"))); e != codeUnknownPartition {
		t.Errorf("request forbids auto-create: %d", e)
	}
	if r := ask(9, true, named("new")); one(r) != codeNone || len(r.Topics[0].Partitions) != 2 {
		t.Errorf("auto-create: %+v", r.Topics)
	}
	if r := ask(3, false, named("new2")); one(r) != codeNone {
		t.Errorf("auto-create before the flag: %+v", r.Topics)
	}
	topic.parts[0].mu.Lock()
	topic.parts[0].leader = 0
	topic.parts[0].mu.Unlock()
	if p := ask(9, false, named("t")).Topics[0].Partitions[0]; code(p.ErrorCode) != codeLeaderNotAvailable || p.Leader != -1 {
		t.Errorf("without leader: %+v", p)
	}
}

func TestListOffsets(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	p := topic.parts[0]
	fill(p, 6)
	p.start = 2
	c := dial(t, addr)
	for _, x := range []struct {
		version int16
		ts      int64
		want    int64
		code    code
	}{
		{1, timeLatest, 6, 0}, {10, timeLatest, 6, 0}, {1, timeEarliest, 2, 0}, {8, timeEarliestLocal, 2, 0},
		{7, timeMax, 0, 0}, {9, timeLatestTiered, -1, 0}, {5, 1000, 0, 0}, {5, 5000, -1, 0},
		{6, timeMax, -1, codeUnsupportedVersion}, {7, timeEarliestLocal, -1, codeUnsupportedVersion},
		{8, timeLatestTiered, -1, codeUnsupportedVersion}, {10, -6, -1, codeUnsupportedVersion},
	} {
		req := request[*kmsg.ListOffsetsRequest](topic)
		req.Version, req.Topics[0].Partitions[0].Timestamp = x.version, x.ts
		got := c.ask(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if got.Offset != x.want || code(got.ErrorCode) != x.code {
			t.Errorf("version %d time %d: %+v, want %d", x.version, x.ts, got, x.want)
		}
	}
	req := request[*kmsg.ListOffsetsRequest](topic)
	req.Version = 5
	req.Topics = append(req.Topics, req.Topics[0])
	if got := c.ask(req).(*kmsg.ListOffsetsResponse).Topics[1].Partitions[0]; code(got.ErrorCode) != codeInvalidRequest {
		t.Errorf("named twice: %+v", got)
	}
}

// TestListOffsetsTogether: each partition has to hear from a majority, and none
// waits for another to have heard.
func TestListOffsetsTogether(t *testing.T) {
	const partitions = 9
	_, n, addr := start(t)
	topic := n.add("t", partitions)
	var waiting atomic.Int32
	asked := make(chan struct{})
	req := request[*kmsg.ListOffsetsRequest](topic)
	req.Version, req.TimeoutMillis = 10, 5000
	list := &req.Topics[0].Partitions
	for i, p := range topic.parts {
		fill(p, i+1)
		p.confirm = func(ctx context.Context) error {
			if waiting.Add(1) == partitions {
				close(asked)
			}
			select {
			case <-asked:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		one := (*list)[0]
		if one.Partition, one.Timestamp = int32(i), timeLatest; i > 0 {
			*list = append(*list, one)
		}
	}
	for i, got := range dial(t, addr).ask(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if got.Partition != int32(i) || got.Offset != int64(i+1) || got.ErrorCode != 0 {
			t.Errorf("partition %d: %+v", i, got)
		}
	}
}

func TestInitProducerID(t *testing.T) {
	_, _, addr := start(t)
	c := dial(t, addr)
	ask := func(txn *string, pid int64, epoch int16) *kmsg.InitProducerIDResponse {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 4, txn, pid, epoch
		return c.ask(req).(*kmsg.InitProducerIDResponse)
	}
	a, b := ask(nil, -1, -1), ask(nil, 1001, 0)
	if a.ErrorCode != 0 || b.ErrorCode != 0 || a.ProducerID == b.ProducerID || a.ProducerEpoch != 0 {
		t.Errorf("two ids: %+v %+v", a, b)
	}
	for name, x := range map[string]struct {
		got  *kmsg.InitProducerIDResponse
		want code
	}{
		"transactional": {ask(str("tx"), -1, -1), codeUnsupportedVersion},
		"empty":         {ask(str(""), -1, -1), codeInvalidRequest},
		"id, no epoch":  {ask(nil, 5, -1), codeInvalidRequest},
		"epoch, no id":  {ask(nil, -1, 5), codeInvalidRequest},
	} {
		if code(x.got.ErrorCode) != x.want || x.got.ProducerID != -1 {
			t.Errorf("%s: %+v, want code %d", name, x.got, x.want)
		}
	}
}
