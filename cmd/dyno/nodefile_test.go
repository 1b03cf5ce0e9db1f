package main

import (
	"os"
	"path/filepath"
	"testing"

	"dyno/engine"
)

// TestCatchUpLimit: left out is the default, 0 is no limit, and what is below that is
// passed on to be refused.
func TestCatchUpLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"limits: {}": 0, "limits: {catch_up_bytes_per_second: 0}": engine.NoLimit,
		"limits: {catch_up_bytes_per_second: 1000}": 1000, "limits: {catch_up_bytes_per_second: -1}": -2,
	} {
		name := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := readNodeFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := f.config(); err != nil || c.Limits.CatchUpBytesPerSecond != want {
			t.Errorf("%s: %d, %v; want %d", text, c.Limits.CatchUpBytesPerSecond, err, want)
		}
	}
}
