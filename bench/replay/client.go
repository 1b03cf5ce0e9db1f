package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var errProtocol = errors.New("unexpected answer")

// produce plays one step, and counts what moves because of it. The answers are
// looked at afterwards.
func (c *cluster) produce(s *step, m *meter) error {
	m.start()
	for i := range s.bursts {
		b := &s.bursts[i]
		n := c.leader(b.leader)
		n.atOnce(func() { n.client.give(b.frames) })
	}
	if err := c.run(); err != nil {
		return err
	}
	if s.tick {
		if err := c.pass(1); err != nil {
			return err
		}
	}
	m.stop()
	return c.produced(s, m)
}

// produced looks at the answers to a step.
func (c *cluster) produced(s *step, m *meter) error {
	for _, n := range c.nodes {
		rest := n.client.answers()
		for i := range s.bursts {
			b := &s.bursts[i]
			if c.leader(b.leader) != n {
				continue
			}
			for k, req := range b.requests {
				body, left, err := answer(rest, int32(k+1))
				if err != nil {
					return fmt.Errorf("produce: node %d: %w", n.id, err)
				}
				resp := req.ResponseKind().(*kmsg.ProduceResponse)
				if err := resp.ReadFrom(body); err != nil {
					return fmt.Errorf("produce: node %d: %w", n.id, err)
				}
				if err := accepted(req, resp); err != nil {
					return fmt.Errorf("produce: node %d: %w", n.id, err)
				}
				m.sum[roundTrips]++
				rest = left
			}
		}
		if len(rest) > 0 {
			return fmt.Errorf("produce: node %d: %w: %d bytes too many", n.id, errProtocol, len(rest))
		}
	}
	return nil
}

// accepted wants one good answer for each batch.
func accepted(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) error {
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != len(req.Topics[0].Partitions) {
		return fmt.Errorf("%w: %d topics", errProtocol, len(resp.Topics))
	}
	for i := range resp.Topics[0].Partitions {
		if p := &resp.Topics[0].Partitions[i]; p.ErrorCode != 0 {
			return fmt.Errorf("%w: partition %d: error %d", errProtocol, p.Partition, p.ErrorCode)
		}
	}
	return nil
}

// answer cuts one answer's body off what a front wrote; both of our APIs have the
// flexible header.
func answer(b []byte, correlation int32) (body, rest []byte, err error) {
	const head = 4 + 4 + 1 // length, correlation id, no tags
	if len(b) < head {
		return nil, nil, fmt.Errorf("%w: %d bytes where answer %d begins", errProtocol, len(b), correlation)
	}
	n := int(binary.BigEndian.Uint32(b)) + 4
	if got := int32(binary.BigEndian.Uint32(b[4:])); got != correlation || n > len(b) {
		return nil, nil, fmt.Errorf("%w: answer %d of %d bytes, there are %d; expected answer %d", errProtocol, got, n, len(b), correlation)
	}
	return b[head:n], b[n:], nil
}

// Limits of one Fetch, in bytes: of the answer and of a partition in it.
const (
	fetchBytesMax     = 256 << 10
	fetchPartBytesMax = 64 << 10
)

// fetchAll reads every partition from its leader, from the first offset on, one
// request after the other, counts what moves, and compares what came with what
// was sent.
func (c *cluster) fetchAll(w *workload, m *meter) error {
	for i, n := range c.nodes {
		next, sums := map[int]int64{}, map[int]uint32{}
		for p := i; p < partitions; p += len(c.nodes) {
			next[p] = int64(n.parts[p].Offsets().LogStart)
		}
		for more := true; more; {
			resp, err := c.fetch(n, next, m)
			if err != nil {
				return fmt.Errorf("fetch: node %d: %w", n.id, err)
			}
			more, err = take(resp, next, sums)
			if err != nil {
				return fmt.Errorf("fetch: node %d: %w", n.id, err)
			}
		}
		if err := readBack(next, sums, w, func(p int) int64 { return int64(n.parts[p].Offsets().HighWatermark) }); err != nil {
			return err
		}
	}
	return nil
}

// readBack demands that all of each partition in next came, and as it was sent; one
// that stayed silent is not in sums.
func readBack(next map[int]int64, sums map[int]uint32, w *workload, end func(p int) int64) error {
	for p, at := range next {
		if sums[p] != w.sent[p] || at != end(p) {
			return fmt.Errorf("fetch: partition %d up to offset %d of %d does not hold what was sent", p, at, end(p))
		}
	}
	return nil
}

// fetch makes one request for all partitions in next.
func (c *cluster) fetch(n *node, next map[int]int64, m *meter) (*kmsg.FetchResponse, error) {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes = fetchVersion, fetchBytesMax, 1
	t := kmsg.NewFetchRequestTopic()
	t.TopicID = topicID
	for p := range partitions { // in order
		offset, ok := next[p]
		if !ok {
			continue
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = int32(p), offset, fetchPartBytesMax
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	m.start()
	n.client.give(frame)
	synctest.Wait()
	m.stop()
	body, rest, err := answer(n.client.answers(), 1)
	if err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w, and %d bytes", err, len(rest))
	}
	m.sum[roundTrips]++
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	return resp, resp.ReadFrom(body)
}

// take adds what an answer holds to sums and moves next; more says that there was
// something.
func take(resp *kmsg.FetchResponse, next map[int]int64, sums map[int]uint32) (more bool, err error) {
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 {
		return false, fmt.Errorf("%w: error %d, %d topics", errProtocol, resp.ErrorCode, len(resp.Topics))
	}
	for i := range resp.Topics[0].Partitions {
		part := &resp.Topics[0].Partitions[i]
		p := int(part.Partition)
		if part.ErrorCode != 0 {
			return false, fmt.Errorf("%w: partition %d: error %d", errProtocol, p, part.ErrorCode)
		}
		for b := part.RecordBatches; len(b) > 0; {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(b); err != nil {
				return false, err
			}
			n := int(batch.Length) + 12 // what the length does not count
			if batch.FirstOffset != next[p] {
				return false, fmt.Errorf("%w: partition %d: a batch at %d, expected at %d", errProtocol, p, batch.FirstOffset, next[p])
			}
			sums[p] = batchSum(sums[p], b[:n])
			next[p] += int64(batch.LastOffsetDelta) + 1
			b, more = b[n:], true
		}
	}
	return more, nil
}
