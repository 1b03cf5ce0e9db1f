package record

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestSourceOfAnotherProgram(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	if c := commitOf(info); c != (Commit{Hash: "abc", Dirty: true}) || c.Exact() {
		t.Errorf("%+v", c)
	}
	info.Settings[1].Value = "false"
	if c := commitOf(info); !c.Exact() {
		t.Errorf("%+v is not exact", c)
	}
	// The test's own file tells what the running program tells.
	if c := SourceOf(os.Args[0]); c != Source() {
		t.Errorf("file %+v, process %+v", c, Source())
	}
	script := filepath.Join(t.TempDir(), "dyno")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if c := SourceOf(script); c.Hash != Unknown || c.Exact() {
		t.Errorf("a script: %+v", c)
	}
}
