package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyno/engine/ids"
	"dyno/engine/partition"
)

// Replicas of a partition hold the same bytes. Each node tells the checksum of
// what it holds of a range of offsets (GET /checksum), and CompareReplicas asks
// all of them for the same range.

// Checksum is what one replica holds of [From, To): the CRC32C of all record
// batches, one after the other, as they are stored.
type Checksum struct {
	Node      ids.NodeID    `json:"node"`
	Topic     string        `json:"topic"`
	Partition ids.Partition `json:"partition"`
	From      ids.Offset    `json:"from"`
	To        ids.Offset    `json:"to"`
	Bytes     int64         `json:"bytes"`
	CRC32C    uint32        `json:"crc32c"`
}

// checksumPiece is how much of a partition is read at a time.
const checksumPiece = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNotThere means that a replica does not hold the range that was asked for.
var errNotThere = errors.New("not held here")

// checksum reads the batches of [from, to); from and to are where batches begin
// and end. A negative from is the log start, a negative to the high watermark.
// It reads the disk, and stops when ctx ends.
func (h *hosted) checksum(ctx context.Context, from, to ids.Offset) (Checksum, error) {
	o := h.Offsets()
	if from < 0 {
		from = o.LogStart
	}
	if to < 0 {
		to = o.HighWatermark
	}
	sum := Checksum{Topic: h.name, Partition: h.part, From: from, To: to}
	if from < o.LogStart || to > o.HighWatermark {
		return sum, fmt.Errorf("%w: [%d, %d), the replica holds [%d, %d)", errNotThere, from, to, o.LogStart, o.HighWatermark)
	}
	for at := from; at < to; {
		if ctx.Err() != nil {
			return sum, context.Cause(ctx)
		}
		res, err := h.Read(partition.ReadArgs{Offset: at, MaxBytes: checksumPiece, One: true})
		if err != nil {
			return sum, err
		}
		for _, b := range res.Batches {
			base, end := partition.BatchRange(b)
			if base >= to {
				return sum, nil
			}
			sum.CRC32C = crc32.Update(sum.CRC32C, castagnoli, b)
			sum.Bytes += int64(len(b))
			at = end
		}
	}
	return sum, nil
}

// A replica that is in sync holds what is committed soon.
const (
	checksumPatience = 5 * time.Second
	checksumEvery    = 10 * time.Millisecond
)

// reach waits until the replica's high watermark is at to.
func (h *hosted) reach(ctx context.Context, to ids.Offset) error {
	tick := time.NewTicker(checksumEvery)
	defer tick.Stop()
	for h.Offsets().HighWatermark < to {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// checksum is GET /checksum?topic=T&partition=N[&from=O&to=O].
func (a *adminServer) checksum(w http.ResponseWriter, r *http.Request) {
	number := func(name string, missing int64) int64 {
		v := r.FormValue(name)
		if v == "" {
			return missing
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return -2
		}
		return n
	}
	p, from, to := number("partition", -2), number("from", -1), number("to", -1)
	if p < 0 || p > math.MaxInt32 || from < -1 || to < -1 || r.FormValue("topic") == "" {
		http.Error(w, "want topic=NAME and partition=N, and from and to as offsets", http.StatusBadRequest)
		return
	}
	h := a.node.directory.ByName(r.FormValue("topic"), ids.Partition(p))
	if h == nil {
		http.Error(w, fmt.Sprintf("node %d holds no replica of %s-%d", a.node.identity.NodeID, r.FormValue("topic"), p), http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), checksumPatience)
	defer cancel()
	_ = h.reach(ctx, ids.Offset(to)) // what is not there by then is told below
	sum, err := h.checksum(r.Context(), ids.Offset(from), ids.Offset(to))
	sum.Node = a.node.identity.NodeID
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, errNotThere) {
			code = http.StatusConflict
		}
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(sum) // the caller is gone if not
}

// Compared is what CompareReplicas found of one partition.
type Compared struct {
	Topic     string        `json:"topic"`
	Partition ids.Partition `json:"partition"`
	Replicas  []Checksum    `json:"replicas"` // of those that answered, by node
	Same      bool          `json:"same"`     // all answered, with one checksum
	Problem   string        `json:"problem,omitempty"`
}

// CompareReplicas compares all replicas of a topic's partitions (of all topics,
// with an empty name) in the cluster that a node's admin address belongs to:
// what the leader has committed when it is asked, from the newest log start on.
// It blocks while all of it is read at each replica, one partition after the
// other. An error means that nothing could be compared; what one partition's
// replicas lack stands in its Problem.
func CompareReplicas(ctx context.Context, client *http.Client, admin, topic string) ([]Compared, error) {
	var s ClusterStatus
	if err := getJSON(ctx, client, admin, "/cluster", nil, &s); err != nil {
		return nil, err
	}
	at := map[ids.NodeID]string{}
	for _, b := range s.Brokers {
		at[b.Node] = b.Admin
	}
	var out []Compared
	for i := range s.Partitions {
		if p := &s.Partitions[i]; topic == "" || p.Topic == topic {
			out = append(out, compareOne(ctx, client, at, p))
		}
	}
	if topic != "" && len(out) == 0 {
		return nil, fmt.Errorf("no topic %q", topic)
	}
	return out, ctx.Err()
}

func compareOne(ctx context.Context, client *http.Client, at map[ids.NodeID]string, p *PartitionLayout) Compared {
	out := Compared{Topic: p.Topic, Partition: p.Partition}
	query := url.Values{"topic": {p.Topic}, "partition": {strconv.Itoa(int(p.Partition))}}
	// The leader first: it says up to where. Its log start may be younger than a
	// follower's, which catches up with it.
	order := slices.Clone(p.Replicas)
	slices.SortFunc(order, func(a, b ids.NodeID) int {
		switch {
		case a == p.Leader:
			return -1
		case b == p.Leader:
			return 1
		}
		return int(a - b)
	})
	for _, node := range order {
		var sum Checksum
		if err := getJSON(ctx, client, at[node], "/checksum", query, &sum); err != nil {
			out.Problem = fmt.Sprintf("node %d: %v", node, err)
			continue
		}
		query.Set("from", strconv.FormatInt(int64(sum.From), 10))
		query.Set("to", strconv.FormatInt(int64(sum.To), 10))
		out.Replicas = append(out.Replicas, sum)
	}
	slices.SortFunc(out.Replicas, func(a, b Checksum) int { return int(a.Node - b.Node) })
	for _, r := range out.Replicas {
		if first := out.Replicas[0]; r.CRC32C != first.CRC32C || r.Bytes != first.Bytes {
			out.Problem = fmt.Sprintf("nodes %d and %d hold other bytes of [%d, %d)", first.Node, r.Node, r.From, r.To)
		}
	}
	out.Same = out.Problem == ""
	return out
}

// getJSON asks an admin address.
func getJSON(ctx context.Context, client *http.Client, admin, page string, query url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+page+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", admin, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", admin, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("ask %s%s: %w", admin, page, err)
	}
	return nil
}
