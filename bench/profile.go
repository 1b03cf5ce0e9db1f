package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
// are thrown away: a profiled run is never quoted. Error: ErrViolation where it lost
// something all the same.
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
	t := s.trial(step{arm: "profile", number: 1, seed: s.cfg.Seed}, dir, 0, "")
	t.spec.Window = profileWindow
	t.beside = func(ctx context.Context, c *cluster) error { return s.fetchProfiles(ctx, c.Nodes[0].Admin, into) }
	m, err := t.run(ctx)
	if err == nil {
		err = m.kept()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.lab.opt.Out, "profiles: %s (of a separate run; look with `go tool pprof` and `go tool trace`)\n", into)
	return s.lab.work.settle(dir)
}

// fetchProfiles saves the profiles of one node, one after another.
func (s *suite) fetchProfiles(ctx context.Context, admin, into string) error {
	if err := fetchInto(ctx, s.http, http.MethodPost, adminURL(admin, "/debug/flight/start"), ""); err != nil {
		return err
	}
	for _, part := range profileParts {
		if err := fetchInto(ctx, s.http, http.MethodGet, adminURL(admin, part.path), filepath.Join(into, part.file)); err != nil {
			return err
		}
	}
	return nil
}

// fetchInto saves what a URL answers; into "" throws it away.
func fetchInto(ctx context.Context, client *http.Client, method, url, into string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
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
