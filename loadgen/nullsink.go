package loadgen

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nullSink is a one-broker cluster in this process that acknowledges every produce request and keeps nothing: the cheapest
// conceivable cluster. The generator against it, client library, kernel and loopback included, shows what the generator can do by
// itself; the sink's own work (it reads the bytes and parses the partition list) counts against the generator, so the capacity is
// a lower bound and the verdict built on it errs towards blaming the generator. The other way round, the sink speaks plain TCP: what
// TLS costs a client is not in the capacity.
type nullSink struct {
	lis        net.Listener
	topic      string
	partitions int
	wg         sync.WaitGroup
	mu         sync.Mutex
	conns      map[net.Conn]struct{} // guarded by mu; nil once closed
}

const (
	nullFrameMax     = 256 << 20
	nullProduceMax   = 8 // versions kept below flexible ones: cheapest to parse, and enough for every codec
	nullMetadataMax  = 8
	nullInitMax      = 1
	nullAPIVersions  = 2
	nullReadBufBytes = 256 << 10
)

func startNullSink(topic string, partitions int) (*nullSink, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("null sink: %w", err)
	}
	n := &nullSink{lis: lis, topic: topic, partitions: partitions, conns: map[net.Conn]struct{}{}}
	n.wg.Go(n.accept)
	return n, nil
}

func (n *nullSink) addr() string { return n.lis.Addr().String() }

// close hangs up and joins every goroutine.
func (n *nullSink) close() error {
	err := n.lis.Close()
	n.mu.Lock()
	for c := range n.conns {
		err = errors.Join(err, c.Close())
	}
	n.conns = nil
	n.mu.Unlock()
	n.wg.Wait()
	return err
}

func (n *nullSink) accept() {
	for {
		c, err := n.lis.Accept()
		if err != nil {
			return // closed
		}
		n.mu.Lock()
		closed := n.conns == nil
		if !closed {
			n.conns[c] = struct{}{}
			n.wg.Go(func() { n.serve(c) })
		}
		n.mu.Unlock()
		if closed {
			_ = c.Close() // lost the race with close; the client is going away too
			return
		}
	}
}

// serve answers one connection in order until it ends or sends what the sink does not speak.
func (n *nullSink) serve(c net.Conn) {
	defer func() {
		n.mu.Lock()
		if n.conns != nil {
			delete(n.conns, c)
			_ = c.Close() // the peer is gone or confused; nothing is left to tell it
		}
		n.mu.Unlock()
	}()
	r := bufio.NewReaderSize(c, nullReadBufBytes)
	var frame, out []byte
	var size [4]byte
	for {
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		want := int(binary.BigEndian.Uint32(size[:]))
		if want < 8 || want > nullFrameMax {
			return
		}
		if cap(frame) < want {
			frame = make([]byte, want)
		}
		frame = frame[:want]
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		resp, corr, ok := n.answer(frame)
		if !ok {
			return
		}
		if resp == nil { // acks 0
			continue
		}
		out = append(out[:0], 0, 0, 0, 0, 0, 0, 0, 0)
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		binary.BigEndian.PutUint32(out[4:], uint32(corr))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// answer decodes a frame and makes its response; nil with ok for a request that gets none.
func (n *nullSink) answer(frame []byte) (resp kmsg.Response, corr int32, ok bool) {
	b := kbin.Reader{Src: frame}
	key, version := b.Int16(), b.Int16()
	corr = b.Int32()
	b.NullableString()
	req := kmsg.RequestForKey(key)
	if b.Complete() != nil && len(b.Src) == 0 || req == nil {
		return nil, 0, false
	}
	if key == int16(kmsg.ApiVersions) && version > nullAPIVersions {
		v := kmsg.NewPtrApiVersionsResponse()
		v.ErrorCode = kerr.UnsupportedVersion.Code
		return v, corr, true
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		return nil, 0, false // beyond the advertised versions
	}
	u, unsafe := req.(interface{ UnsafeReadFrom([]byte) error })
	if !unsafe || u.UnsafeReadFrom(b.Src) != nil {
		return nil, 0, false
	}
	resp, ok = n.respond(req)
	return resp, corr, ok
}

func (n *nullSink) respond(req kmsg.Request) (kmsg.Response, bool) {
	switch q := req.(type) {
	case *kmsg.ProduceRequest:
		return n.produce(q), true
	case *kmsg.ApiVersionsRequest:
		v := q.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key, most := range map[kmsg.Key]int16{
			kmsg.Produce: nullProduceMax, kmsg.Metadata: nullMetadataMax, kmsg.InitProducerID: nullInitMax, kmsg.ApiVersions: nullAPIVersions,
		} {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = int16(key), most
			v.ApiKeys = append(v.ApiKeys, k)
		}
		return v, true
	case *kmsg.MetadataRequest:
		return n.metadata(q), true
	case *kmsg.InitProducerIDRequest:
		v := q.ResponseKind().(*kmsg.InitProducerIDResponse)
		v.ProducerID = 1
		return v, true
	}
	return nil, false
}

// produce acknowledges every partition at offset 0.
func (n *nullSink) produce(q *kmsg.ProduceRequest) kmsg.Response {
	if q.Acks == 0 {
		return nil
	}
	v := q.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range q.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			rt.Partitions = append(rt.Partitions, rp)
		}
		v.Topics = append(v.Topics, rt)
	}
	return v
}

func (n *nullSink) metadata(q *kmsg.MetadataRequest) kmsg.Response {
	v := q.ResponseKind().(*kmsg.MetadataResponse)
	addr := n.lis.Addr().(*net.TCPAddr)
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, addr.IP.String(), int32(addr.Port)
	v.Brokers, v.ControllerID = append(v.Brokers, b), 1
	t := kmsg.NewMetadataResponseTopic()
	t.Topic = kmsg.StringPtr(n.topic)
	for i := range n.partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.Replicas, p.ISR = int32(i), 1, []int32{1}, []int32{1}
		t.Partitions = append(t.Partitions, p)
	}
	v.Topics = append(v.Topics, t)
	return v
}

// probeCapacity runs the same generator against a null sink and returns its capacity in records/s. The probe saturates where the
// run is open loop: capacity is what the schedule may ask for at most.
func probeCapacity(ctx context.Context, cfg *Config, partitions int) (float64, error) {
	sink, err := startNullSink(cfg.Topic, partitions)
	if err != nil {
		return 0, err
	}
	rate, err := probe(ctx, cfg, sink.addr(), partitions)
	return rate, errors.Join(err, sink.close())
}

func probe(ctx context.Context, cfg *Config, addr string, partitions int) (float64, error) {
	c := *cfg
	c.Brokers, c.Rate, c.Records = []string{addr}, 0, 0
	c.Warmup, c.Duration = cfg.ProbeDuration/5, cfg.ProbeDuration-cfg.ProbeDuration/5
	c.TLS, c.SASL = TLSConfig{}, SASLConfig{}
	c.Consumers, c.Verify, c.Progress, c.Acked = 0, false, nil, nil
	// The buffer of a saturating run: a deeper one only adds a longer overhang.
	c.BufferedBytesMax = min(c.BufferedBytesMax, max(saturatingBytesMax, c.Workload.Size.max()))
	l, err := newLoad(&c, nil, partitions)
	if err != nil {
		return 0, err
	}
	defer l.close()
	if err := l.connect(ctx); err != nil {
		return 0, fmt.Errorf("null sink: %w", err)
	}
	if err := l.drive(ctx); err != nil {
		return 0, fmt.Errorf("null sink: %w", err)
	}
	// The drain's answers count, so the time they took counts too.
	var last int64
	for _, p := range l.producers {
		last = max(last, p.last)
	}
	took := last - l.f.win.warmEnd
	if l.tally.sum.timed == 0 || took <= 0 {
		return 0, nil // so short that nothing was answered in time: not probed
	}
	return float64(l.tally.sum.timed) / float64(took) * 1e9, nil
}
