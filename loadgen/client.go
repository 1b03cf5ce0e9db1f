package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const clientID = "dyno-load"

// codec maps a codec's name to the client's option.
func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("%w: compression %q: want none, gzip, snappy, lz4 or zstd", ErrUsage, name)
}

// producerOpts are one producer's options: linger 0 unless asked for, Inflight requests at every acks, the partition chosen by us.
//
// The client keeps 5 requests in flight by itself where the producer is idempotent; without idempotence its default is 1.
// The record limit stands above our own ring of slots, so the ring is what pushes back: the client lowers its count only after
// the promise in which a slot becomes free again, hence the headroom.
//
// The client takes a connection that ends before its first answer for a wrong setting and gives records up; the cluster was reached
// before there is a producer, so here it is a broker that comes or goes, and AlwaysRetryEOF says so.
func producerOpts(cfg *Config, security []kgo.Opt) ([]kgo.Opt, error) {
	c, err := codec(cfg.Compression)
	if err != nil {
		return nil, err
	}
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(clientID),
		kgo.DisableClientMetrics(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(c),
		kgo.ProducerLinger(cfg.Linger),
		kgo.MaxBufferedRecords(cfg.slots() + 64),
		kgo.RecordDeliveryTimeout(cfg.DeliveryTimeout),
		kgo.AlwaysRetryEOF(),
	}, security...)
	if every := cfg.RetryEvery; every > 0 {
		opts = append(opts, kgo.MetadataMinAge(every), kgo.RetryBackoffFn(func(int) time.Duration { return every }))
	}
	if most := cfg.Workload.Size.max() + keyBytes + 1024; most > 1_000_000 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(most)))
	}
	switch cfg.Acks {
	case AcksAll:
		return append(opts, kgo.RequiredAcks(kgo.AllISRAcks())), nil
	case AcksLeader:
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()))
	default:
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()))
	}
	return append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(cfg.Inflight)), nil
}

// fateOfError says what a failed promise teaches. Only an answer that refuses before the append makes a record failed. An error
// that the client retries says nothing: an attempt before it may have been stored (and a storage error may come after the append).
func fateOfError(err error) fate {
	if err == nil {
		return fateAcked
	}
	for _, refused := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.TopicAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.InvalidTopicException, kerr.PolicyViolation, kerr.InvalidRequiredAcks, kgo.ErrMaxBuffered,
	} {
		if errors.Is(err, refused) {
			return fateFailed
		}
	}
	return fateUnknown
}

// dialAny connects to any one broker and hangs up: the clear and quick answer to a wrong address.
func dialAny(ctx context.Context, brokers []string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	errs := make(chan error, len(brokers))
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, b := range brokers {
		wg.Go(func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", b)
			if err == nil {
				err = conn.Close()
			}
			errs <- err
		})
	}
	var all []string
	for range brokers {
		err := <-errs
		if err == nil {
			cancel()
			return nil
		}
		all = append(all, err.Error())
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, strings.Join(all, "; "))
}

// retryTimeout is how long the client itself tries a request again: its own 30 s, but offsets asks again for what is missing alone.
func retryTimeout(key int16) time.Duration {
	if key == int16(kmsg.ListOffsets) {
		return time.Nanosecond
	}
	return 30 * time.Second
}

// cluster is the administrative view of the cluster under load.
type cluster struct {
	cl    *kgo.Client
	adm   *kadm.Client
	topic string
	made  bool // prepare created the topic, so nobody wrote to it before
}

func newCluster(cfg *Config, security []kgo.Opt) (*cluster, error) {
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID(clientID + "-admin"), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryTimeoutFn(retryTimeout),
	}, security...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return &cluster{cl: cl, adm: kadm.NewClient(cl), topic: cfg.Topic}, nil
}

func (c *cluster) close() { c.cl.Close() }

// prepare makes the topic where asked to and waits until every partition has a leader; it returns the number of partitions.
func (c *cluster) prepare(ctx context.Context, cfg *Config) (int, error) {
	if cfg.Create {
		made, err := c.adm.CreateTopic(ctx, int32(cfg.Partitions), int16(cfg.RF), nil, cfg.Topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return 0, fmt.Errorf("%w: create topic %s (%d partitions, rf %d): %w", ErrUnreachable, cfg.Topic, cfg.Partitions, cfg.RF, err)
		}
		c.made = err == nil && made.Err == nil
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n, rf, err := c.leaders(ctx)
		if err == nil {
			if cfg.Create && (n != cfg.Partitions || rf != cfg.RF) {
				return 0, fmt.Errorf("%w: topic %s exists with %d partitions, rf %d, not %d and %d: name another topic, or leave out --create",
					ErrUsage, cfg.Topic, n, rf, cfg.Partitions, cfg.RF)
			}
			return n, nil
		}
		var answered *kerr.Error
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition) && !cfg.Create:
			return 0, fmt.Errorf("%w: topic %s does not exist: create it, or give --create", ErrUnreachable, cfg.Topic)
		case errors.As(err, &answered) && !answered.Retriable:
			return 0, fmt.Errorf("%w: topic %s: %w", ErrUnreachable, cfg.Topic, err)
		}
		select {
		case <-ctx.Done():
			if answered == nil { // a broker was dialled before, so it is there and does not talk to us
				err = fmt.Errorf("a broker accepts connections but gives no answer; are the TLS and SASL settings its own? (%w)", err)
			}
			return 0, fmt.Errorf("%w: topic %s: %w", ErrUnreachable, cfg.Topic, err)
		case <-tick.C:
		}
	}
}

// remove deletes the topic.
func (c *cluster) remove(ctx context.Context) error {
	gone, err := c.adm.DeleteTopic(ctx, c.topic)
	if err == nil {
		err = gone.Err
	}
	if err != nil {
		return fmt.Errorf("%w: delete topic %s: %w", ErrUnreachable, c.topic, err)
	}
	return nil
}

// leaders is the number of partitions, and the least number of replicas of one, once each has a leader.
func (c *cluster) leaders(ctx context.Context) (n, rf int, err error) {
	md, err := c.adm.Metadata(ctx, c.topic)
	if err != nil {
		return 0, 0, err
	}
	t := md.Topics[c.topic]
	if t.Err != nil {
		return 0, 0, t.Err
	}
	if len(t.Partitions) == 0 {
		return 0, 0, kerr.UnknownTopicOrPartition
	}
	for i := range len(t.Partitions) {
		p, ok := t.Partitions[int32(i)]
		if !ok || p.Leader < 0 {
			return 0, 0, fmt.Errorf("partition %d: %w", i, kerr.LeaderNotAvailable)
		}
		if i == 0 || len(p.Replicas) < rf {
			rf = len(p.Replicas)
		}
	}
	return len(t.Partitions), rf, nil
}

// What offsets can list, as the protocol's special timestamps (KIP-79).
const (
	endOffset      = -1 // exclusive
	earliestOffset = -2
)

// endOffsets lists the end offset (exclusive) of every partition; see offsets.
func (c *cluster) endOffsets(ctx context.Context, partitions int) ([]int64, error) {
	return c.offsets(ctx, partitions, endOffset)
}

// offsets lists one offset of every partition. Leaders change while it asks, in a cluster of thousands of partitions all the time
// for a while, so it asks again for those alone that gave no answer, until ctx ends.
func (c *cluster) offsets(ctx context.Context, partitions int, which int64) ([]int64, error) {
	list := make([]int64, partitions)
	ask := make([]int32, partitions)
	for i := range ask {
		ask[i] = int32(i)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		missing, err := c.listOffsets(ctx, which, list, ask)
		switch {
		case len(missing) == 0:
			return list, nil
		case ctx.Err() != nil && last != nil: // says more than that the time is over
			return nil, last
		}
		err = fmt.Errorf("list offsets of %s: %d of %d partitions give none, the first is %d: %w", c.topic, len(missing), partitions, missing[0], err)
		var answered *kerr.Error
		if errors.As(err, &answered) && !answered.Retriable {
			return nil, err
		}
		ask, last = missing, err
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// errNoAnswer: a broker left partitions out of its answer.
var errNoAnswer = errors.New("no answer for them")

// listOffsets asks once for an offset of some partitions and returns those that are still missing, in order, and why.
func (c *cluster) listOffsets(ctx context.Context, which int64, list []int64, ask []int32) (missing []int32, err error) {
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = c.topic
	for _, i := range ask {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, which
		t.Partitions = append(t.Partitions, p)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.Topics = -1, append(req.Topics, t)
	known := make([]bool, len(list))
	err = errNoAnswer
	for _, shard := range c.cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			err = shard.Err
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				switch failed := kerr.ErrorForCode(p.ErrorCode); {
				case failed != nil:
					err = failed
				case 0 <= p.Partition && int(p.Partition) < len(list):
					list[p.Partition], known[p.Partition] = p.Offset, true
				}
			}
		}
	}
	for _, i := range ask {
		if !known[i] {
			missing = append(missing, i)
		}
	}
	return missing, err
}

// span is the number of offsets between two listings.
func span(before, after []int64) (n int64) {
	for i := range before {
		n += after[i] - before[i]
	}
	return n
}
