package micro

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/bench/cell"
	"dyno/engine"
	"dyno/wal/vfs"
)

const (
	topic = "micro"
	// The log of the node: all that a run writes fits into the first two segments,
	// which are ready before it is measured.
	segmentBytes  = 24 << 20
	spareSegments = 1
	segmentsReady = spareSegments + 2 // the one in use, the next one, the spare
	settleEvery   = 10 * time.Millisecond
	settleWait    = 20 * time.Second
	fetchBytes    = 1 << 20
)

// The last versions without tagged fields: the client decodes less.
const (
	versionCreate  = 4
	versionProduce = 8
	versionFetch   = 11
)

// node is a cluster of one in this process, and a client of it.
type node struct {
	run    *run
	engine *engine.Node
	wire   *wire
	hangUp func() bool
	frames [][]byte // produce requests, used in turn
	from   int64    // offset of what the last produce wrote
	next   int64    // offset of what the next one writes
}

// openNode starts it and waits until it is ready. When ctx ends, its calls fail.
func (r *run) openNode(ctx context.Context) (_ *node, err error) {
	dir := filepath.Join(r.spec.Dir, "node")
	if err := engine.Format(vfs.OS(), dir, "micro", 1); err != nil {
		return nil, err
	}
	n := &node{run: r}
	n.engine, err = engine.Open(engine.Config{DataDir: dir, NodeID: 1, KafkaAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		Log: slog.New(slog.DiscardHandler), WAL: engine.WALConfig{SegmentBytes: segmentBytes, SpareSegments: spareSegments}})
	if err != nil {
		return nil, err
	}
	if n.wire, err = dial(n.engine.KafkaAddr()); err != nil {
		return nil, errors.Join(err, n.engine.Close())
	}
	n.hangUp = context.AfterFunc(ctx, n.wire.close) // unblocks what waits for an answer
	n.frames = n.requests()
	if err := n.prepare(ctx); err != nil {
		return nil, errors.Join(ctx.Err(), err, n.close())
	}
	return n, nil
}

func (n *node) close() error {
	n.hangUp()
	n.wire.close()
	return n.engine.Close()
}

// prepare makes the topic, writes one batch once it has a leader, and waits for the
// log's space.
func (n *node) prepare(ctx context.Context) error {
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = versionCreate, 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 1, 1
	create.Topics = append(create.Topics, t)
	var created kmsg.CreateTopicsResponse
	if err := n.wire.ask(create, &created); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	if err := kerr.ErrorForCode(created.Topics[0].ErrorCode); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	err := await(ctx, func() (bool, error) {
		err := n.send(1)
		if errors.Is(err, kerr.NotLeaderForPartition) || errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.LeaderNotAvailable) {
			return false, nil
		}
		return err == nil, err
	})
	if err == nil {
		err = await(ctx, func() (bool, error) { return spaceReady(ctx, n.engine.AdminAddr()) })
	}
	return err
}

// await asks until the answer is yes.
func await(ctx context.Context, ask func() (bool, error)) error {
	deadline := time.Now().Add(settleWait)
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the node is not ready after %v", settleWait)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// spaceReady says whether the node's log has made the segments that it keeps ready,
// so that none is zero-filled while something is measured.
func spaceReady(ctx context.Context, admin string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return false, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20)); lines.Scan(); {
		if made, ok := strings.CutPrefix(lines.Text(), "dyno_wal_segments_made_total "); ok {
			var n float64
			_, err := fmt.Sscan(made, &n)
			return n >= segmentsReady, err
		}
	}
	return false, errors.New("the node does not tell how many segments its log has made")
}

// requests encodes a produce request for each batch.
func (n *node) requests() [][]byte {
	frames := make([][]byte, len(n.run.batches))
	for i := range frames {
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = versionProduce, -1, 10_000
		t, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
		p.Records = n.run.batches[i]
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		frames[i] = n.wire.frame(req)
	}
	return frames
}

// produce writes the records of a round.
func (n *node) produce() error { return n.send(produceRecords / batchRecords) }

// send writes that many batches at acks=all, several requests in flight.
func (n *node) send(batches int) error {
	for sent, answered := 0, 0; answered < batches; {
		if sent < batches && sent-answered < produceInflight {
			if err := n.wire.send(n.frames[sent%len(n.frames)]); err != nil {
				return err
			}
			sent++
			continue
		}
		if err := produced(n.wire); err != nil {
			return err
		}
		answered++
	}
	n.from, n.next = n.next, n.next+int64(batches*batchRecords)
	return nil
}

// produced takes one answer.
func produced(w *wire) error {
	b, err := w.answer()
	if err != nil {
		return err
	}
	resp := kmsg.ProduceResponse{Version: versionProduce}
	if err := resp.ReadFrom(b); err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// fetch reads what the round before wrote, several times.
func (n *node) fetch() error {
	for range fetchPasses {
		if err := fetch(n.wire, n.from, n.next); err != nil {
			return err
		}
	}
	return nil
}

// fetch reads offsets [from, to), one request in flight.
func fetch(w *wire, from, to int64) error {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = versionFetch, -1, 500, 1, fetchBytes
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = 0x0102030405060708, fetchBytes, -1
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	frame := w.frame(req)
	at := offsetIn(frame)
	for from < to {
		binary.BigEndian.PutUint64(frame[at:], uint64(from))
		if err := w.send(frame); err != nil {
			return err
		}
		b, err := w.answer()
		if err != nil {
			return err
		}
		resp := kmsg.FetchResponse{Version: versionFetch}
		if err := resp.ReadFrom(b); err != nil {
			return err
		}
		part := &resp.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
			return err
		}
		n, err := span(part.RecordBatches, from)
		if err != nil {
			return fmt.Errorf("%w: %w", cell.ErrVerify, err)
		}
		if n == 0 {
			return fmt.Errorf("%w: nothing at offset %d of %d", cell.ErrVerify, from, to)
		}
		from += n
	}
	return nil
}

// offsetIn finds the fetch offset in an encoded request by the value it was given.
func offsetIn(frame []byte) int {
	for i := range len(frame) - 7 {
		if binary.BigEndian.Uint64(frame[i:]) == 0x0102030405060708 {
			return i
		}
	}
	panic("BUG: a fetch request without its offset")
}
