package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dyno/bench/record"
	"dyno/bench/stats"
)

// outage is one repetition of a steady load during which nodes are ended and
// started again. Its story runs beside the load; both are over when run returns.
type outage struct {
	b     *bed
	c     *cluster
	spec  loadSpec
	line  *timeline
	rng   *rand.Rand         // of the story
	doing atomic.Value       // string: what the story does, for people
	found map[string]float64 // by the story
}

const (
	startPatience  = 60 * time.Second // until every partition has taken a first record
	resumePatience = 30 * time.Second // after that a partition that takes nothing has failed
)

// outage starts a cluster of dyno, fills it where fill has records, loads it as
// spec says while story goes on, reads everything back and judges the outcome.
func (b *bed) outage(ctx context.Context, spec, fill loadSpec, story func(context.Context, *outage) error) error {
	b.lab.progress.say(b.name, "start", "")
	c, err := startCluster(ctx, b.dyno, clusterNodes, filepath.Join(b.dir, "cluster"))
	if err != nil {
		return err
	}
	spec.Seed, fill.Seed = b.seed, b.seed
	spec.Brokers = strings.Split(c.Bootstrap, ",")
	o := &outage{b: b, c: c, spec: spec, line: newTimeline(spec.Partitions), rng: rand.New(rand.NewPCG(b.seed, 0x6f75)), found: map[string]float64{}}
	var res *loadResult
	err = c.whileUp(ctx, func(ctx context.Context) (err error) {
		if fill.Records > 0 {
			fill.Brokers = spec.Brokers
			if err := b.write(ctx, fill); err != nil {
				return err
			}
		}
		res, err = o.load(ctx, story)
		return err
	})
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	if res != nil {
		o.judge(b.rep, res)
	}
	return nil
}

// write has a fixed number of records written, and demands that all were. Error:
// ErrViolation where one of them was not kept.
func (b *bed) write(ctx context.Context, spec loadSpec) error {
	b.lab.progress.say(b.name, "fill", "")
	raw, err := runJobs(ctx, []job{{name: "the load generator", argv: b.lab.child, work: workLoad, spec: spec}}, nil)
	if err != nil {
		return err
	}
	var res loadResult
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of the load generator: %w", err)
	}
	if res.Violation != "" {
		return fmt.Errorf("%w: fill the cluster: %s", ErrViolation, res.Violation)
	}
	if odd := unanswered(&res); odd != "" {
		return fmt.Errorf("fill the cluster: %s", odd)
	}
	return nil
}

// load runs the generator and the story beside it, which has the load stopped when
// it is over. A standstill is in the repetition; the result is nil where the load ended
// badly because of it.
func (o *outage) load(ctx context.Context, story func(context.Context, *outage) error) (*loadResult, error) {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var hearErr, storyErr error
	var stands *standstill
	var beside sync.WaitGroup
	stop := make(chan struct{}) // closed by the story's goroutine
	beside.Go(func() {
		defer close(stop)
		if storyErr = o.tell(ctx, story); storyErr != nil && !errors.As(storyErr, &stands) {
			giveUp()
		}
	})
	raw, err := runJobs(ctx, []job{{
		name: "the load generator", argv: o.b.lab.child, work: workSteady, spec: o.spec, stop: stop,
		progress: func(_ int, report json.RawMessage) {
			if hearErr == nil {
				if hearErr = o.hear(report); hearErr != nil {
					giveUp()
				}
			}
		},
	}}, nil)
	giveUp()
	beside.Wait()
	if stands != nil {
		o.b.rep.Status, o.b.rep.Problem = record.Failed, storyErr.Error()
		if err != nil { // of a load that nobody answered: it takes nothing back
			return nil, hearErr
		}
		storyErr = nil
	}
	if err = firstCause([]error{hearErr, storyErr, err}); err != nil {
		return nil, err
	}
	res := new(loadResult)
	if err := json.Unmarshal(raw[0], res); err != nil {
		return nil, fmt.Errorf("result of the load generator: %w", err)
	}
	return res, nil
}

// tell runs the story once the load goes on everywhere.
func (o *outage) tell(ctx context.Context, story func(context.Context, *outage) error) error {
	o.doing.Store("load")
	if _, err := o.line.await(ctx, o.all(), startPatience, func(p int) (int64, bool) { return o.line.ackedAfter(p, 0) }); err != nil {
		return err
	}
	err := story(ctx, o)
	o.doing.Store("read back")
	return err
}

func (o *outage) hear(report json.RawMessage) error {
	news, err := o.line.hear(report)
	if doing, ok := o.doing.Load().(string); ok && err == nil {
		o.b.lab.progress.say(o.b.name, doing, fmt.Sprintf("%d records acknowledged", news.Acked))
	}
	return err
}

// all are the load's partitions.
func (o *outage) all() []int {
	parts := make([]int, o.spec.Partitions)
	for i := range parts {
		parts[i] = i
	}
	return parts
}

// judge fills in a repetition. An error that the producer saw is a value, not a
// verdict: what it may be is a matter of targets. How punctual the generator was
// is no matter: what it sends late only makes an outage longer.
func (o *outage) judge(rep *record.Repetition, res *loadResult) {
	reportValues(o.found, &res.Report)
	for _, name := range []string{"throughput", "bandwidth", "response_p50", "response_p99", "response_p999"} {
		delete(o.found, name) // of a load with holes in it
	}
	o.found["errors"] = float64(res.Report.Failed + res.Report.Unknown)
	rep.Values = o.found
	foreign := int64(0)
	if v := res.Detail.Verification; v != nil {
		foreign = v.Foreign
	}
	switch odd := unansweredOf(0, 0, 0, foreign); {
	case res.Violation != "":
		rep.Status, rep.Problem = record.Failed, res.Violation
	case rep.Status != record.OK:
	case res.Report.Lost == nil:
		rep.Status, rep.Problem = record.Invalid, "the records were not verified"
	case odd != "":
		rep.Status, rep.Problem = record.Invalid, odd
	}
}

// kills has the node that leads partition 0 killed n times, each time when all
// nodes are back, and notes how soon every partition that it led takes records again.
func kills(n int) func(context.Context, *outage) error {
	return func(ctx context.Context, o *outage) error {
		var resumed, rejoined []float64
		killed := map[int]bool{}
		for i := range n {
			o.doing.Store(fmt.Sprintf("kill %d of %d", i+1, n))
			// Not in step with heartbeats and looks of the cluster.
			if err := pause(ctx, time.Duration(200+o.rng.IntN(1000))*time.Millisecond); err != nil {
				return err
			}
			victim, led, err := o.leader(ctx)
			if err != nil {
				return err
			}
			at, err := o.c.end(victim, syscall.SIGKILL)
			if err != nil {
				return err
			}
			killed[victim] = true
			away, err := o.away(ctx, led, at)
			if err != nil {
				return fmt.Errorf("kill %d: %w", i+1, err)
			}
			resumed = append(resumed, away...)
			begun := monotonic()
			if err := o.bringBack(ctx, victim); err != nil {
				return err
			}
			rejoined = append(rejoined, float64(monotonic()-begun))
		}
		o.found["resume_median"], o.found["resume_worst"] = stats.Median(resumed), stats.Quantile(resumed, 1)
		o.found["rejoin"], o.found["kills"], o.found["killed_nodes"] = stats.Median(rejoined), float64(n), float64(len(killed))
		return nil
	}
}

// away waits until partitions take records again that were sent after a moment, and
// gives how long each took for it, in ns.
func (o *outage) away(ctx context.Context, led []int, moment int64) ([]float64, error) {
	again, err := o.line.await(ctx, led, resumePatience, func(p int) (int64, bool) { return o.line.sentAfter(p, moment) })
	long := make([]float64, len(again))
	for i, at := range again {
		long[i] = float64(at - moment)
	}
	return long, err
}

// rolls has every node restarted in turn, each when the one before is back and
// leads what it is to lead, and notes the longest time that any partition took nothing.
func rolls(ctx context.Context, o *outage) error {
	var took []float64
	from := monotonic()
	for i := range o.c.Nodes {
		o.doing.Store(fmt.Sprintf("restart node %d", o.c.Nodes[i].ID))
		begun, err := o.c.end(i, syscall.SIGTERM)
		if err != nil {
			return err
		}
		if err := o.bringBack(ctx, i); err != nil {
			return err
		}
		took = append(took, float64(monotonic()-begun))
		if err := awaitTrue(ctx, "every partition is led by its preferred node", func() (bool, error) {
			l, err := o.c.layout(ctx, o.b.http, i)
			return err == nil && l.preferred(), err
		}); err != nil {
			return err
		}
	}
	to := monotonic()
	// Everything that was acknowledged before to has been told when something later has.
	if _, err := o.line.await(ctx, o.all(), resumePatience, func(p int) (int64, bool) { return o.line.ackedAfter(p, to) }); err != nil {
		return err
	}
	o.found["stall_max"], o.found["restart"] = float64(o.line.stall(from, to)), stats.Median(took)
	return nil
}

// whole has all nodes ended at once and started again, and notes when they serve
// and when every partition has taken a record.
func whole(sig syscall.Signal) func(context.Context, *outage) error {
	return func(ctx context.Context, o *outage) error {
		o.doing.Store("end all nodes")
		begun := monotonic()
		if err := o.c.each(func(i int) error { _, err := o.c.end(i, sig); return err }); err != nil {
			return err
		}
		o.doing.Store("start all nodes")
		started := monotonic()
		for i := range o.c.Nodes {
			if err := o.c.start(i); err != nil {
				return err
			}
		}
		var serve int64
		var acked []int64
		var beside sync.WaitGroup
		var serveErr error
		beside.Go(func() {
			serveErr = o.c.each(func(i int) error { return o.c.awaitReady(ctx, o.b.http, i) })
			serve = monotonic()
		})
		acked, err := o.line.await(ctx, o.all(), resumePatience, func(p int) (int64, bool) { return o.line.ackedAfter(p, started) })
		beside.Wait()
		if err := errors.Join(serveErr, err); err != nil {
			return err
		}
		last := started
		for _, at := range acked {
			last = max(last, at)
		}
		o.found["stop"], o.found["full_ready"], o.found["full_acked"] = float64(started-begun), float64(serve-started), float64(last-started)
		o.found["full"] = float64(max(serve, last) - started)
		return nil
	}
}

// bringBack starts a node and returns when it serves and has caught up.
func (o *outage) bringBack(ctx context.Context, i int) error {
	if err := o.c.start(i); err != nil {
		return err
	}
	if err := o.c.awaitReady(ctx, o.b.http, i); err != nil {
		return err
	}
	return o.c.awaitCaughtUp(ctx, o.b.http, i)
}

// leader finds the node that leads partition 0, and all that it leads, by its own
// word: what others believe may be old.
func (o *outage) leader(ctx context.Context) (node int, led []int, err error) {
	err = awaitTrue(ctx, "somebody leads partition 0", func() (bool, error) {
		for i := range o.c.Nodes {
			s, err := o.c.status(ctx, o.b.http, i)
			if err != nil {
				return false, err
			}
			if led = s.led(); len(led) > 0 && led[0] == 0 {
				node = i
				return true, nil
			}
		}
		return false, nil
	})
	return node, led, err
}

// pause blocks for that long; the error is ctx's.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
