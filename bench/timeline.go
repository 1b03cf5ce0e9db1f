package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

// timeline is what a steady load tells of its acknowledgements, by partition. hear
// is called by the job's goroutine; the other methods by anybody.
//
// One producer sends, and a partition's answers come in the order in which its
// records were sent, so each partition's acks ascend in Sent and in At.
type timeline struct {
	mu    sync.Mutex
	parts [][]ack       // guarded by mu; by partition
	more  chan struct{} // guarded by mu; closed at each report with acknowledgements, then replaced
}

func newTimeline(partitions int) *timeline {
	return &timeline{parts: make([][]ack, partitions), more: make(chan struct{})}
}

// hear takes one report of the load.
func (t *timeline) hear(raw json.RawMessage) (steadyNews, error) {
	var news steadyNews
	if err := json.Unmarshal(raw, &news); err != nil {
		return news, fmt.Errorf("report of the load: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range news.Acks {
		if int(a.Partition) >= len(t.parts) || a.Partition < 0 {
			return news, fmt.Errorf("report of the load: partition %d of %d", a.Partition, len(t.parts))
		}
		t.parts[a.Partition] = append(t.parts[a.Partition], a)
	}
	if len(news.Acks) > 0 {
		close(t.more)
		t.more = make(chan struct{})
	}
	return news, nil
}

// sentAfter gives when the first record was acknowledged that the client got after
// that moment; false while there is none. Records that it had before may be
// answered late without anybody being able to write.
func (t *timeline) sentAfter(partition int, moment int64) (at int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	acks := t.parts[partition]
	i := sort.Search(len(acks), func(i int) bool { return acks[i].Sent > moment })
	if i == len(acks) {
		return 0, false
	}
	return acks[i].At, true
}

// ackedAfter gives when the first acknowledgement came after that moment, of
// whatever record; false while there is none.
func (t *timeline) ackedAfter(partition int, moment int64) (at int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	acks := t.parts[partition]
	i := sort.Search(len(acks), func(i int) bool { return acks[i].At > moment })
	if i == len(acks) {
		return 0, false
	}
	return acks[i].At, true
}

// stall is the longest time between two moments in which some partition had no
// acknowledgement.
func (t *timeline) stall(from, to int64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	longest := int64(0)
	for _, acks := range t.parts {
		last := from
		for _, a := range acks[sort.Search(len(acks), func(i int) bool { return acks[i].At > from }):] {
			if a.At >= to {
				break
			}
			longest, last = max(longest, a.At-last), a.At
		}
		longest = max(longest, to-last)
	}
	return time.Duration(longest)
}

// await blocks until find says so for each of the partitions, and returns what it
// found, in their order. It asks again after each report. Error: a standstill
// after patience, or ctx's.
func (t *timeline) await(ctx context.Context, partitions []int, patience time.Duration, find func(partition int) (int64, bool)) ([]int64, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	found := make([]int64, len(partitions))
	for left := slices.Clone(partitions); ; {
		t.mu.Lock()
		more := t.more // taken before the look, so that no report is missed
		t.mu.Unlock()
		left = slices.DeleteFunc(left, func(p int) bool {
			at, ok := find(p)
			if ok {
				found[slices.Index(partitions, p)] = at
			}
			return ok
		})
		if len(left) == 0 {
			return found, nil
		}
		select {
		case <-more:
		case <-timer.C:
			return nil, &standstill{partition: left[0], of: len(left), patience: patience}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// standstill is a partition that took no record for so long that nobody waits on:
// a broken promise, not an accident of the lab.
type standstill struct {
	partition, of int
	patience      time.Duration
}

func (s *standstill) Error() string {
	return fmt.Sprintf("partition %d, and %d others, took no record for %v", s.partition, s.of-1, s.patience)
}
