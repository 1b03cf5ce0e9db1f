package record

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode"
)

// WriteBench writes the run in the Go benchmark format, one line per good
// repetition, for benchstat. Repetitions that were not OK are left out: a
// comment cannot be expressed in the format, and run.json holds them.
// Source: golang.org/design/14313-benchmark-format.
func WriteBench(w io.Writer, run *Run) error {
	b := bufio.NewWriter(w)
	env := &run.Environment
	for _, line := range [][2]string{
		{"pkg", "dyno/bench"}, {"goos", "linux"}, {"goarch", env.Facts.Arch},
		{"cpu", env.Facts.CPU}, {"result", run.ID}, {"commit", run.Commit.Hash},
		{"dirty", fmt.Sprint(run.Commit.Dirty)}, {"fingerprint", env.Fingerprint},
		{"go", env.Go.Version},
	} {
		if line[1] != "" {
			fmt.Fprintf(b, "%s: %s\n", line[0], line[1])
		}
	}
	for _, u := range run.Units {
		writeUnit(b, u)
	}
	for _, rep := range inOrder(run) {
		fmt.Fprintf(b, "Benchmark%s 1", rep.name)
		for _, u := range run.Units {
			if v, ok := rep.values[u.Name]; ok {
				fmt.Fprintf(b, " %.9g %s", v, benchUnit(u))
			}
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

func writeUnit(b *bufio.Writer, u Unit) {
	assume := "nothing"
	if u.Exact {
		assume = "exact"
	}
	fmt.Fprintf(b, "Unit %s assume=%s", benchUnit(u), assume)
	if u.Better != "" {
		fmt.Fprintf(b, " better=%s", u.Better)
	}
	fmt.Fprintln(b)
}

// benchUnit joins quantity and unit, since a benchmark line knows its values by
// unit alone: "response_p99" in ns becomes "response_p99-ns".
func benchUnit(u Unit) string {
	if u.Name == u.Unit {
		return u.Unit
	}
	return u.Name + "-" + u.Unit
}

type benchLine struct {
	order  int
	name   string
	values map[string]float64
}

// inOrder lists the good repetitions as they were measured.
func inOrder(run *Run) []benchLine {
	var lines []benchLine
	for i := range run.Arms {
		arm := &run.Arms[i]
		name := benchName(run.ID, arm)
		for _, rep := range arm.Repetitions {
			if rep.Status == OK {
				lines = append(lines, benchLine{rep.Order, name, rep.Values})
			}
		}
	}
	sort.SliceStable(lines, func(i, j int) bool { return lines[i].order < lines[j].order })
	return lines
}

// benchName makes Produce/arm=half/size=1024 out of …-produce and an arm.
func benchName(id string, arm *Arm) string {
	_, base, _ := strings.Cut(id, "-")
	var b strings.Builder
	for _, word := range strings.Split(base, "-") {
		for i, r := range word {
			if i == 0 {
				r = unicode.ToUpper(r)
			}
			b.WriteRune(r)
		}
	}
	fmt.Fprintf(&b, "/arm=%s", strings.ReplaceAll(arm.Name, "/", "."))
	keys := make([]string, 0, len(arm.Params))
	for key := range arm.Params {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		fmt.Fprintf(&b, "/%s=%s", key, arm.Params[key])
	}
	return b.String()
}
