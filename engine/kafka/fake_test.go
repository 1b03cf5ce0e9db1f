package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// fakeNode is a Backend over an in-memory log: one worker goroutine answers
// the appends in order, as a group's worker does.
type fakeNode struct {
	mu      sync.Mutex
	topics  map[string]*fakeTopic
	byID    map[ids.TopicID]*fakeTopic
	nextPID ids.ProducerID
	auto    bool
	full    bool
	addr    *net.TCPAddr
	rack    string            // of this node
	others  []Broker          // beside 1 and 2
	configs map[string]string // of the broker

	answers chan *partition.Append // sender: Append; closed by close
	done    chan struct{}
}

type fakeTopic struct {
	name  string
	id    ids.TopicID
	parts []*fakePart
	conf  map[string]string
}

// fakePart is a partition: an ordered list of batches.
type fakePart struct {
	node *fakeNode

	mu        sync.Mutex
	leader    ids.NodeID
	epoch     ids.LeaderEpoch
	set       atomic.Pointer[partition.Settings]
	batches   [][]byte
	bases     []ids.Offset
	start     ids.Offset
	next      ids.Offset // log end
	high      ids.Offset
	producers map[ids.ProducerID]*fakeProducer
	watch     []chan<- struct{}
	onWatch   chan struct{} // closed when watch changes
	hold      bool          // appends wait for let
	held      []*partition.Append
	refuse    error
	answerErr error
	readErr   error // of Read, ByTime and MaxTime
	reads     int
	hook      func(*partition.Append)
	confirm   func(context.Context) error // what Latest waits for

	away             bool            // hosted elsewhere
	stuck            bool            // elections do not end
	known            ids.LeaderEpoch // the newest in the log
	replicas, isr    []ids.NodeID
	adding, removing []ids.NodeID
}

type fakeProducer struct {
	epoch int16
	next  int32
	base  ids.Offset
	seq   int32
}

func newFakeNode(t testing.TB) *fakeNode {
	n := &fakeNode{
		topics: map[string]*fakeTopic{}, byID: map[ids.TopicID]*fakeTopic{}, nextPID: 1000,
		configs: map[string]string{"num.partitions": "1"},
		answers: make(chan *partition.Append, 1<<16), done: make(chan struct{}),
	}
	go func() {
		defer close(n.done)
		for a := range n.answers {
			a.Reply.Appended(a)
		}
	}()
	t.Cleanup(func() { close(n.answers); <-n.done })
	return n
}

func (n *fakeNode) add(name string, parts int) *fakeTopic {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &fakeTopic{name: name, conf: map[string]string{"retention.ms": "604800000"}}
	binary.BigEndian.PutUint32(t.id[:], uint32(len(n.byID)+1))
	t.id[15] = 1
	for range parts {
		t.parts = append(t.parts, n.newPart())
	}
	n.topics[name], n.byID[t.id] = t, t
	return t
}

// find is a topic that must be there.
func (n *fakeNode) find(name string) *fakeTopic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.topics[name]
}

// allowAuto lets Metadata make topics.
func (n *fakeNode) allowAuto() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.auto = true
}

func (n *fakeNode) newPart() *fakePart {
	p := &fakePart{node: n, leader: 1, epoch: 1, producers: map[ids.ProducerID]*fakeProducer{},
		replicas: []ids.NodeID{1}, isr: []ids.NodeID{1}}
	p.set.Store(&partition.Settings{MaxMessageBytes: 1 << 20, CompressionType: "producer"})
	return p
}

// change makes new settings of the old ones.
func (p *fakePart) change(f func(*partition.Settings)) {
	s := *p.set.Load()
	f(&s)
	p.set.Store(&s)
}

func (n *fakeNode) Cluster() Cluster {
	n.mu.Lock()
	defer n.mu.Unlock()
	cl := Cluster{ID: "fake-cluster", Self: 1, Controller: 1}
	if n.addr != nil {
		cl.Brokers = []Broker{
			{ID: 1, Host: n.addr.IP.String(), Port: int32(n.addr.Port), Rack: n.rack},
			{ID: 2, Host: "elsewhere", Port: 9, Rack: "r", Fenced: true},
		}
		cl.Brokers = append(cl.Brokers, n.others...)
	}
	return cl
}

func (t *fakeTopic) view() Topic {
	v := Topic{Name: t.name, ID: t.id}
	for _, p := range t.parts {
		p.mu.Lock()
		v.Partitions = append(v.Partitions, PartitionView{Leader: p.leader, Epoch: p.epoch, Replicas: p.replicas, ISR: p.isr,
			Adding: p.adding, Removing: p.removing})
		p.mu.Unlock()
	}
	return v
}

func (n *fakeNode) Topics() []Topic {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Topic
	for _, t := range n.topics {
		out = append(out, t.view())
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (n *fakeNode) Topic(name string) (Topic, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, ok := n.topics[name]
	if !ok {
		return Topic{}, false
	}
	return t.view(), true
}

func (n *fakeNode) TopicByID(id ids.TopicID) (Topic, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, ok := n.byID[id]
	if !ok {
		return Topic{}, false
	}
	return t.view(), true
}

func (n *fakeNode) Partition(topic []byte, p ids.Partition) (Partition, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.topics[string(topic)].part(p)
}

func (n *fakeNode) PartitionByID(id ids.TopicID, p ids.Partition) (Partition, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byID[id].part(p)
}

func (t *fakeTopic) part(p ids.Partition) (Partition, error) {
	switch {
	case t == nil:
		return nil, ErrUnknownTopic
	case p < 0 || int(p) >= len(t.parts):
		return nil, ErrUnknownPartition
	}
	part := t.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.away {
		return nil, &replica.NotLeaderError{}
	}
	return part, nil
}

func (n *fakeNode) CreateTopics(_ context.Context, topics []NewTopic, validate bool) []TopicResult {
	out := make([]TopicResult, len(topics))
	for i, t := range topics {
		if t.Assignment != nil {
			t.Partitions, t.RF = int32(len(t.Assignment)), int16(len(t.Assignment[0]))
		}
		if t.Partitions == -1 {
			t.Partitions = 1
		}
		if t.RF == -1 {
			t.RF = 1
		}
		out[i] = TopicResult{Name: t.Name, Partitions: t.Partitions, RF: t.RF}
		if t.Partitions > 1000 {
			out[i].Err = fmt.Errorf("%w: above 1000", ErrInvalidCount)
		} else if _, ok := n.Topic(t.Name); ok {
			out[i].Err = fmt.Errorf("%w: %q", ErrTopicExists, t.Name)
		} else if t.RF > 1 {
			out[i].Err = fmt.Errorf("%w: %d, there is 1 broker", ErrInvalidRF, t.RF)
		}
		for k := range t.Configs {
			if k != "retention.ms" {
				out[i].Err = fmt.Errorf("%w: unknown key %q", ErrInvalidConfig, k)
			}
		}
		if out[i].Err == nil && !validate {
			out[i].ID = n.add(t.Name, int(t.Partitions)).id
		}
	}
	return out
}

func (n *fakeNode) DeleteTopic(_ context.Context, name string, id ids.TopicID) TopicResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.topics[name]
	if name == "" {
		t = n.byID[id]
	}
	if t == nil {
		return TopicResult{Name: name, ID: id, Err: ErrUnknownTopic}
	}
	delete(n.topics, t.name)
	delete(n.byID, t.id)
	return TopicResult{Name: t.name, ID: t.id}
}

func (n *fakeNode) CreatePartitions(_ context.Context, topic string, count int32, validate bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.topics[topic]
	switch {
	case t == nil:
		return ErrUnknownTopic
	case int(count) <= len(t.parts) || count > 1000:
		return fmt.Errorf("%w: has %d already", ErrInvalidCount, len(t.parts))
	}
	for !validate && len(t.parts) < int(count) {
		t.parts = append(t.parts, n.newPart())
	}
	return nil
}

func entries(m map[string]string, src ConfigSource) (out []ConfigEntry) {
	for k, v := range m {
		out = append(out, ConfigEntry{Name: k, Value: v, Source: src, Doc: "about " + k})
	}
	slices.SortFunc(out, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (n *fakeNode) TopicConfigs(topic string) ([]ConfigEntry, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.topics[topic]
	if t == nil {
		return nil, ErrUnknownTopic
	}
	return entries(t.conf, SourceTopic), nil
}

func (n *fakeNode) BrokerConfigs(node ids.NodeID) ([]ConfigEntry, error) {
	if node != 1 {
		return nil, ErrUnknownBroker
	}
	secret := ConfigEntry{Name: "password", Value: "hush", Secret: true}
	return append(entries(n.configs, SourceStatic), secret), nil
}

func alter(m map[string]string, ops []ConfigOp, validate bool) error {
	for _, op := range ops {
		if _, ok := m[op.Name]; !ok {
			return fmt.Errorf("%w: unknown key %q", ErrInvalidConfig, op.Name)
		}
		if !validate && op.Op == 0 {
			m[op.Name] = *op.Value
		}
	}
	return nil
}

func (n *fakeNode) AlterTopicConfigs(_ context.Context, topic string, ops []ConfigOp, validate bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.topics[topic]
	if t == nil {
		return ErrUnknownTopic
	}
	return alter(t.conf, ops, validate)
}

func (n *fakeNode) AlterBrokerConfigs(_ context.Context, _ ids.NodeID, ops []ConfigOp, validate bool) error {
	return alter(n.configs, ops, validate)
}

func (n *fakeNode) NewProducerID(context.Context) (ids.ProducerID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nextPID++
	return n.nextPID, nil
}

func (n *fakeNode) AutoCreate() (bool, int32, int16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.auto, 2, 1
}

func (n *fakeNode) DiskFull() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.full
}

// Append admits a batch; it is answered by the worker, or by let where the
// partition holds its answers back.
func (p *fakePart) Append(a *partition.Append) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return p.refuse
	}
	if p.leader != 1 {
		return &replica.NotLeaderError{}
	}
	if p.hook != nil {
		p.hook(a)
	}
	a.LogStart = p.start
	a.Err = p.answerErr
	if a.Err == nil {
		a.Err = p.admit(a)
	}
	if p.hold {
		p.held = append(p.held, a)
		return nil
	}
	p.commit()
	p.node.answers <- a
	return nil
}

// admit checks the sequence and puts a at the end of the log.
func (p *fakePart) admit(a *partition.Append) error {
	in := &a.Batch
	if in.ProducerID >= 0 {
		st := p.producers[in.ProducerID]
		switch {
		case st == nil:
			st = &fakeProducer{epoch: in.ProducerEpoch, next: in.BaseSequence}
			p.producers[in.ProducerID] = st
		case in.ProducerEpoch < st.epoch:
			return partition.ErrProducerFenced
		case in.ProducerEpoch > st.epoch:
			*st = fakeProducer{epoch: in.ProducerEpoch}
		case in.BaseSequence == st.seq && st.next == in.BaseSequence+in.Records:
			a.Base = st.base
			return nil
		}
		if in.BaseSequence != st.next {
			return partition.ErrOutOfOrderSequence
		}
		st.seq, st.next, st.base = in.BaseSequence, in.BaseSequence+in.Records, p.next
	}
	a.Base = p.next
	binary.BigEndian.PutUint64(a.Data, uint64(p.next))
	binary.BigEndian.PutUint32(a.Data[12:], uint32(p.epoch))
	p.batches = append(p.batches, a.Data)
	p.bases = append(p.bases, p.next)
	p.next += ids.Offset(in.Records)
	return nil
}

// last is a copy of the newest batch.
func (p *fakePart) last() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.batches[len(p.batches)-1])
}

// commit moves the high watermark to the log end. mu is held.
func (p *fakePart) commit() {
	p.high, p.known = p.next, p.epoch
	p.wake()
}

// wake tells who watches. mu is held.
func (p *fakePart) wake() {
	for _, ch := range p.watch {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// let answers what was held back.
func (p *fakePart) let() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commit()
	for _, a := range p.held {
		p.node.answers <- a
	}
	p.held, p.hold = nil, false
}

func (p *fakePart) Settings() *partition.Settings { return p.set.Load() }

func (p *fakePart) Leader() (ids.NodeID, ids.LeaderEpoch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader, p.epoch
}

func (p *fakePart) Read(args partition.ReadArgs) (partition.ReadResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	r := partition.ReadResult{Offsets: p.offsets()}
	if p.readErr != nil {
		return r, p.readErr
	}
	if args.Offset < p.start || args.Offset > p.high {
		return r, partition.ErrOffsetOutOfRange
	}
	for i, b := range p.batches {
		end := p.next
		if i+1 < len(p.bases) {
			end = p.bases[i+1]
		}
		if end <= args.Offset || end > p.high {
			continue
		}
		if r.Bytes+len(b) > args.MaxBytes && !(args.One && r.Bytes == 0) {
			break
		}
		r.Batches = append(r.Batches, b)
		r.Bytes += len(b)
	}
	return r, nil
}

func (p *fakePart) offsets() partition.Offsets {
	return partition.Offsets{LogStart: p.start, LastStable: p.high, HighWatermark: p.high, LogEnd: p.next}
}

func (p *fakePart) Offsets() partition.Offsets {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offsets()
}

func (p *fakePart) Watch(ch chan<- struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = append(p.watch, ch)
	p.tell()
}

// tell says that watch changed. mu is held.
func (p *fakePart) tell() {
	if p.onWatch != nil {
		close(p.onWatch)
		p.onWatch = nil
	}
}

func (p *fakePart) Unwatch(ch chan<- struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = slices.DeleteFunc(p.watch, func(c chan<- struct{}) bool { return c == ch })
	p.tell()
}

func (p *fakePart) Latest(ctx context.Context) (partition.Offsets, error) {
	if p.confirm != nil {
		if err := p.confirm(ctx); err != nil {
			return partition.Offsets{}, err
		}
	}
	return p.Offsets(), nil
}

func (p *fakePart) ByTime(ms int64) (partition.TimedOffset, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr != nil {
		return partition.TimedOffset{}, p.readErr
	}
	for i, b := range p.batches {
		if at := int64(binary.BigEndian.Uint64(b[35:])); at >= ms {
			return partition.TimedOffset{Offset: p.bases[i], TimestampMS: at, Epoch: p.epoch}, nil
		}
	}
	return partition.TimedOffset{Offset: -1, TimestampMS: -1, Epoch: -1}, nil
}

func (p *fakePart) MaxTime() (partition.TimedOffset, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr != nil {
		return partition.TimedOffset{}, p.readErr
	}
	best := partition.TimedOffset{Offset: -1, TimestampMS: -1, Epoch: -1}
	for i, b := range p.batches {
		if at := int64(binary.BigEndian.Uint64(b[35:])); at > best.TimestampMS {
			best = partition.TimedOffset{Offset: p.bases[i], TimestampMS: at, Epoch: p.epoch}
		}
	}
	return best, nil
}

func (p *fakePart) EpochEnd(e ids.LeaderEpoch) partition.EpochEnd {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e < p.epoch || p.known < p.epoch || len(p.batches) == 0 {
		return partition.EpochEnd{Epoch: -1, End: -1}
	}
	return partition.EpochEnd{Epoch: p.epoch, End: p.next}
}

func (p *fakePart) DeleteRecords(_ context.Context, o ids.Offset) (ids.Offset, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o == -1 {
		o = p.high
	}
	if o > p.high {
		return -1, partition.ErrOffsetOutOfRange
	}
	p.start = max(p.start, o)
	return p.start, nil
}

// errFake is an error that the front has no code for.
var errFake = errors.New("nobody foresaw this")
