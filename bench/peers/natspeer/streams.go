package natspeer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamsWait = 60 * time.Second // to make all streams and see their replicas follow
	streamsPoll = 50 * time.Millisecond
	attemptWait = 5 * time.Second // for one answer: a cluster that has just formed may drop a request without one
)

func streamName(i int) string { return fmt.Sprintf("dyno-%d", i) }

// subjects are the streams' subjects, one each.
func subjects(streams int) (all []string) {
	for i := range streams {
		all = append(all, fmt.Sprintf("dyno.%d", i))
	}
	return all
}

// makeStreams makes the streams, three replicas in files each and all else as
// shipped, waits until every replica follows, and returns the server that leads
// each. A cluster that has just formed may refuse for a while; that is waited
// out. Error: ErrStart.
func makeStreams(ctx context.Context, js jetstream.JetStream, subjects []string) (leaders []int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, streamsWait, fmt.Errorf("%w: the streams were not ready within %v", ErrStart, streamsWait))
	defer cancel()
	for i, subject := range subjects {
		leader := -1
		err := until(ctx, func(ctx context.Context) (err error) {
			_, err = js.CreateStream(ctx, jetstream.StreamConfig{
				Name: streamName(i), Subjects: []string{subject}, Replicas: serverCount, Storage: jetstream.FileStorage,
			})
			return err
		})
		if err == nil {
			err = until(ctx, func(ctx context.Context) (err error) { leader, err = leads(ctx, js, i); return err })
		}
		if err != nil {
			return nil, fmt.Errorf("%w: stream %s: %w", ErrStart, streamName(i), err)
		}
		leaders = append(leaders, leader)
	}
	return leaders, nil
}

// until tries again and again, attemptWait at most each time; it gives up with
// ctx, and tells the last error.
func until(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(streamsPoll)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptWait)
		err := try(attempt)
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// leads is the server that leads stream i; an error while a replica does not follow.
func leads(ctx context.Context, js jetstream.JetStream, i int) (int, error) {
	info, err := streamInfo(ctx, js, i)
	if err != nil {
		return 0, err
	}
	c := info.Cluster
	if c == nil || c.Leader == "" || len(c.Replicas) != serverCount-1 {
		return 0, fmt.Errorf("it has no leader with %d followers yet", serverCount-1)
	}
	for _, r := range c.Replicas {
		if !r.Current || r.Offline {
			return 0, fmt.Errorf("replica %s does not follow yet", r.Name)
		}
	}
	for n := range serverCount {
		if nodeName(n) == c.Leader {
			return n, nil
		}
	}
	return 0, fmt.Errorf("it is led by %q, which is none of ours", c.Leader)
}

func streamInfo(ctx context.Context, js jetstream.JetStream, i int) (*jetstream.StreamInfo, error) {
	s, err := js.Stream(ctx, streamName(i))
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", streamName(i), err)
	}
	return s.CachedInfo(), nil // Stream has just asked
}
