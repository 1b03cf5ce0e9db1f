package bench

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"dyno/bench/record"
)

func factRows(env *record.Environment) [][2]string {
	f, g, pr := &env.Facts, &env.Go, &env.Probes
	rows := [][2]string{
		{"fingerprint", env.Fingerprint}, {"kernel", f.Kernel}, {"CPU", f.CPU}, {"cores", fmt.Sprint(f.Cores)},
		{"memory", fmt.Sprintf("%d MiB", f.MemoryMiB)}, {"virtual machine", fmt.Sprint(f.Virtual)},
		{"file system", f.Filesystem + " " + f.MountOptions}, {"write cache", f.WriteCache}, {"I/O scheduler", f.Scheduler},
		{"governor", f.Governor}, {"clock source", f.ClockSource},
		{"Go", fmt.Sprintf("%s, GOMAXPROCS %d, GOGC %s, GOMEMLIMIT %s", g.Version, g.GOMAXPROCS, g.GOGC, g.GOMEMLIMIT)},
		{"probe: 4 KiB write and fdatasync", fmt.Sprintf("growing %.0f µs, fallocated %.0f µs, written %.0f µs",
			pr.SyncGrowNs/1e3, pr.SyncFallocateNs/1e3, pr.SyncWrittenNs/1e3)},
		{"probe: loopback round trip", fmt.Sprintf("%.1f µs", pr.LoopbackNs/1e3)},
		{"probe: CRC32C of 1 MiB", fmt.Sprintf("%.1f µs", pr.CPULoopNs/1e3)},
		{"stolen CPU time", fmt.Sprintf("%.2f %%", 100*env.StealShare())},
		{"pressure before", pressureText(env.Before)}, {"pressure after", pressureText(env.After)},
	}
	known := rows[:0]
	for _, r := range rows {
		if strings.TrimSpace(r[1]) != "" {
			known = append(known, r)
		}
	}
	return known
}

func pressureText(p record.Pressures) string {
	return fmt.Sprintf("CPU %.1f %%, I/O %.1f %%, memory %.1f %%, load %.2f", p.CPUSome10, p.IOSome10, p.MemorySome10, p.Load1)
}

func configRows(config map[string]any) [][2]string {
	var rows [][2]string
	for key, v := range config {
		text, ok := v.(string)
		if !ok {
			raw, err := json.Marshal(v)
			if err != nil {
				panic(fmt.Sprintf("BUG: decoded configuration does not encode: %v", err))
			}
			text = string(raw)
		}
		rows = append(rows, [2]string{key, text})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i][0] < rows[j][0] })
	return rows
}
