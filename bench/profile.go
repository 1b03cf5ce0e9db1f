package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// profileWindow is the timed window of a profiled repetition: long enough for
// all profiles of profileParts one after another, since each disturbs the next.
const profileWindow = 20 * time.Second

// profileParts are fetched in this order. The flight recorder, started first and
// dumped last, holds the seconds before its dump.
var profileParts = []struct{ file, path string }{
	{"cpu.pprof", "/debug/pprof/profile?seconds=5"},
	{"mutex.pprof", "/debug/pprof/mutex?seconds=3"},
	{"block.pprof", "/debug/pprof/block?seconds=3"},
	{"heap.pprof", "/debug/pprof/heap"},
	{"fgprof.pprof", "/debug/fgprof?seconds=3"},
	{"flight.trace", "/debug/flight"},
}

// profile runs one more saturating repetition with every profile on. Its figures
// are thrown away: a profiled run is never quoted.
func (s *suite) profile(ctx context.Context, id string) (err error) {
	into := filepath.Join(s.lab.opt.Profiles, id)
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(into))
		}
	}()
	dir, err := s.lab.work.fresh()
	if err != nil {
		return err
	}
	c, err := startCluster(ctx, s.cfg.Dyno, s.cfg.Nodes, dir)
	if err != nil {
		return err
	}
	err = c.whileUp(ctx, func(ctx context.Context) error { return s.profileLoad(ctx, c, dir, into) })
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.lab.opt.Out, "profiles: %s (of a separate run; look with `go tool pprof` and `go tool trace`)\n", into)
	return s.lab.work.settle(dir)
}

// profileLoad fetches the profiles of the first node while the load is in its
// timed window. It joins the fetching goroutine.
func (s *suite) profileLoad(ctx context.Context, c *cluster, dir, into string) error {
	st := step{arm: armSaturate, number: s.cfg.Repetitions + 1, seed: s.cfg.Seed}
	cfg := *s.cfg
	cfg.Window = profileWindow
	prof := &suite{cfg: &cfg, lab: s.lab, http: s.http}
	w := &watch{client: s.http, cluster: c, dataDir: dir, tell: s.live(step{arm: "profile"})}
	fetched := make(chan error, 1) // capacity 1; sent once by the fetching goroutine
	var once sync.Once
	w.measuring = func() {
		once.Do(func() { go func() { fetched <- s.fetchProfiles(ctx, c.Nodes[0].Admin, into) }() })
	}
	_, err := prof.load(ctx, w, st, 0, "")
	once.Do(func() { fetched <- errors.New("the load ended before its timed window") })
	return errors.Join(err, <-fetched)
}

func (s *suite) fetchProfiles(ctx context.Context, admin, into string) error {
	if err := s.fetch(ctx, http.MethodPost, adminURL(admin, "/debug/flight/start"), ""); err != nil {
		return err
	}
	for _, part := range profileParts {
		if err := s.fetch(ctx, http.MethodGet, adminURL(admin, part.path), filepath.Join(into, part.file)); err != nil {
			return err
		}
	}
	return nil
}

// fetch saves what a URL answers; into "" throws it away.
func (s *suite) fetch(ctx context.Context, method, url, into string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: status %s", url, resp.Status)
	}
	if into == "" {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	f, err := os.OpenFile(into, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
