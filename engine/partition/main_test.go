package partition

import (
	"flag"
	"os"
	"testing"
)

// TestMain gives the twins more rounds than rapid's default of 100, unless the
// command line says how many.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	checks := "2000"
	switch {
	case os.Getenv("DYNO_LONG") != "":
		checks = "50000"
	case testing.Short():
		checks = "300"
	}
	if !set {
		if err := flag.Set("rapid.checks", checks); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
