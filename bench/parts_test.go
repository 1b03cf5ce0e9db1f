package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"dyno/bench/cell"
	"dyno/bench/record"
)

func TestSecondLabIsTurnedAway(t *testing.T) {
	const name = "@dyno-lab-test-lock"
	first, err := acquire(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = acquire(name)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "process ") || !strings.Contains(err.Error(), os.Args[0][:8]) {
		t.Errorf("second lab: %v", err)
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	again, err := acquire(name)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := again.release(); err != nil {
		t.Fatal(err)
	}
}

func TestStopKillsTheDeafAndItsGroup(t *testing.T) {
	p, err := launch("a deaf child", exec.Command("sh", "-c", "trap '' TERM; sleep 1000 & echo started >&2; wait"))
	if err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.stderr.String(), "started") {
		select {
		case <-p.exited:
			t.Fatalf("it ended: %v", p.err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := p.stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("stop: %v", err)
	}
	pgrp := p.cmd.Process.Pid
	over := time.After(10 * time.Second) // a signal is sent at once, and taken soon
	for left := groupMembers(t, pgrp); len(left) > 0; left = groupMembers(t, pgrp) {
		select {
		case <-over:
			t.Fatalf("processes %s of the group are left", left)
		case <-time.After(time.Millisecond):
		}
	}
	if err := p.stop(time.Second); err == nil {
		t.Error("a second stop forgot how the child ended")
	}
}

// groupMembers lists live processes of a group; zombies count as gone.
func groupMembers(t *testing.T, pgrp int) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null").Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	var found []string
	for _, line := range strings.Split(string(out), "\n") {
		_, rest, ok := strings.Cut(line, ") ")
		fields := strings.Fields(rest)
		if ok && len(fields) > 2 && fields[2] == strconv.Itoa(pgrp) && fields[0] != "Z" {
			found = append(found, strings.Fields(line)[0])
		}
	}
	return found
}

func TestFullDiskIsRefused(t *testing.T) {
	err := requireFree(t.TempDir(), 1<<60)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("got %v", err)
	}
	if err := requireFree(t.TempDir(), 1); err != nil {
		t.Errorf("one byte: %v", err)
	}
}

func TestLabRemovesOnlyWhatItMade(t *testing.T) {
	root := t.TempDir()
	own := filepath.Join(root, workName)
	if err := os.MkdirAll(filepath.Join(own, "thesis"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := newWorkDir(root); !errors.Is(err, ErrUsage) {
		t.Errorf("somebody's directory was taken: %v", err)
	}
	if _, err := os.Stat(filepath.Join(own, "thesis")); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one finds what the first one left, killed
		w, err := newWorkDir(root)
		if err != nil {
			t.Fatal(err)
		}
		if dir, err := w.fresh(); err != nil || filepath.Base(dir) != "000001" {
			t.Errorf("%s, %v", dir, err)
		}
	}
	w, err := newWorkDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); err != nil {
		t.Errorf("an empty root that was there before: %v", err)
	}
	emptyOrGone(t, root)
}

func TestRecordedRunNeedsACommit(t *testing.T) {
	for _, source := range []record.Commit{{Hash: record.Unknown}, {Hash: exactSource.Hash, Dirty: true}} {
		opt, _, _ := fakeLab(t, fakeGood)
		opt.Record, opt.source = true, source
		_, err := openLab(t.Context(), &opt, 1, 1)
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "make build") {
			t.Errorf("%+v: %v", source, err)
		}
		emptyOrGone(t, opt.Results)
	}
}

func TestFullDiskDuringTheRunIsNamed(t *testing.T) {
	err := childError(cell.Event{Kind: cell.Error, Code: cell.NoSpace, Error: "write 7: no space left on device"})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "during the run") {
		t.Errorf("a child's full disk: %v", err)
	}
	if err := childError(cell.Event{Kind: cell.Error, Code: cell.Broken, Error: "record 3"}); !errors.Is(err, ErrViolation) {
		t.Errorf("a broken log: %v", err)
	}
	other := errors.New("other")
	if err := blameDisk(t.TempDir(), other); err != other {
		t.Errorf("a disk with room was blamed: %v", err)
	}
	if err := blameDisk("/proc", other); !errors.Is(err, ErrNoSpace) || !errors.Is(err, other) {
		t.Errorf("a disk without room was not blamed: %v", err)
	}
}

func TestQuietWaitEnds(t *testing.T) {
	never := quietRule{Share: -1, Window: time.Millisecond, WaitMax: 5 * time.Millisecond}
	if _, err := requireQuiet(t.Context(), never, true); !errors.Is(err, ErrBusy) {
		t.Errorf("a recorded run on a busy machine: %v", err)
	}
	caution, err := requireQuiet(t.Context(), never, false)
	if err != nil || !strings.Contains(caution, "other work uses") {
		t.Errorf("a local run on a busy machine: %q, %v", caution, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := waitQuiet(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCountersAreSummedOverLabels(t *testing.T) {
	got, err := parseCounters(strings.NewReader("# HELP a b\na 1\nb{x=\"}\",y=\"2\"} 2.5 1700000000\nb{x=\"q\"} 1\n\nc 1e3\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got["a"] != 1 || got["b"] != 3.5 || got["c"] != 1000 {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"a\n", "a x\n", "a}{ 1\n"} {
		if _, err := parseCounters(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := readUsage(os.Getpid())
	if err != nil || u.startTicks == 0 || u.rssBytes < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := readUsage(1 << 30); err == nil {
		t.Error("a process that cannot exist has usage")
	}
}
