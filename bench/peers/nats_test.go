package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/bench/peers/natspeer"
)

func TestParseNats(t *testing.T) {
	cfg, err := parseNats(strings.Fields("--data d --sync default --streams 4 --size 100 --publishers 2 --pending 9 --rate 500 --connect spread" +
		" --warmup 0s --window 3s --verify read --seed 7 --keep"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server = nil
	want := natspeer.Config{Dir: "d", Keep: true, Sync: natspeer.SyncDefault, Streams: 4, SizeBytes: 100, Publishers: 2, Pending: 9, Rate: 500,
		Connect: natspeer.ConnectSpread, Window: 3 * time.Second, Verify: natspeer.VerifyRead, Seed: 7}
	if fmt.Sprintf("%+v", cfg) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, want %+v", cfg, want)
	}
}

func TestParseNatsRefuses(t *testing.T) {
	for _, line := range []string{"", "--data", "--data d more", "--data d --rate 0", "--data d --closed-loop 0", "--data d --window 0s",
		"--data d --sync never", "--data d --rate 1 --closed-loop 1", "--data d --what", "--data d --pending many"} {
		if _, err := parseNats(strings.Fields(line)); !errors.Is(err, natspeer.ErrUsage) {
			t.Errorf("%q: %v", line, err)
		}
		var out, diagnostics bytes.Buffer
		if code := runNats(context.Background(), strings.Fields(line), &out, &diagnostics); code != 64 || out.Len() > 0 || diagnostics.Len() == 0 {
			t.Errorf("%q: exit code %d, said %q and %q", line, code, out.String(), diagnostics.String())
		}
	}
}

// The help names every flag, and no other.
func TestNatsHelp(t *testing.T) {
	var out, diagnostics bytes.Buffer
	if code := runNats(context.Background(), []string{"--help"}, &out, &diagnostics); code != 0 || diagnostics.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, diagnostics.String())
	}
	var told, have []string
	for _, m := range regexp.MustCompile(`(?m)^  --([a-z-]+) `).FindAllStringSubmatch(out.String(), -1) {
		told = append(told, m[1])
	}
	natsFlags(new(natspeer.Config)).VisitAll(func(f *flag.Flag) { have = append(have, f.Name) })
	slices.Sort(told)
	if !slices.Equal(told, have) {
		t.Errorf("the help tells of %v, the flags are %v", told, have)
	}
}
