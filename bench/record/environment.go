package record

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Environment is where and under what conditions a run was taken. Fields that
// the machine does not tell are empty, never guessed.
type Environment struct {
	// Fingerprint names the machine: a hash of Facts. Equal fingerprints with
	// similar Probes may be compared.
	Fingerprint string    `json:"fingerprint"`
	Facts       Facts     `json:"facts"`
	Go          GoFacts   `json:"go"`
	Probes      Probes    `json:"probes"`
	Before      Pressures `json:"before"`
	After       Pressures `json:"after"`
}

// Facts stay the same from run to run on one machine.
type Facts struct {
	Kernel       string `json:"kernel"`
	Arch         string `json:"arch"`
	CPU          string `json:"cpu"`
	Cores        int    `json:"cores"`
	MemoryMiB    int64  `json:"memory_mib"` // rounded to 64 MiB
	Virtual      bool   `json:"virtual"`    // the CPU reports a hypervisor
	Filesystem   string `json:"filesystem"` // of the data directory
	MountOptions string `json:"mount_options"`
	WriteCache   string `json:"write_cache"` // of its block device: "write back", "write through"
	Scheduler    string `json:"scheduler"`
	Rotational   string `json:"rotational"`
	Governor     string `json:"governor"`
	ClockSource  string `json:"clock_source"`
}

// GoFacts describe the toolchain and its settings for the measured processes.
type GoFacts struct {
	Version    string `json:"version"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	GOGC       string `json:"gogc"`
	GOMEMLIMIT string `json:"gomemlimit"`
}

// Pressures say how busy the machine was at one moment: PSI "some" averages over
// 10 s in percent, and CPU time counters since boot in clock ticks.
type Pressures struct {
	CPUSome10    float64 `json:"cpu_some_avg10"`
	IOSome10     float64 `json:"io_some_avg10"`
	MemorySome10 float64 `json:"memory_some_avg10"`
	Load1        float64 `json:"load1"`
	StealTicks   uint64  `json:"steal_ticks"`
	IdleTicks    uint64  `json:"idle_ticks"` // waiting for a disk included
	TotalTicks   uint64  `json:"total_ticks"`
}

// StealShare is the share of CPU time the hypervisor took between two moments.
func (e *Environment) StealShare() float64 {
	total := e.After.TotalTicks - e.Before.TotalTicks
	if total == 0 || e.After.TotalTicks < e.Before.TotalTicks {
		return 0
	}
	return float64(e.After.StealTicks-e.Before.StealTicks) / float64(total)
}

// Capture describes the machine and the file system dir lies on. It reads /proc
// and /sys only; probes are a separate step because they cost time. Nothing it
// returns names the host or a path.
func Capture(dir string) (Environment, error) {
	var env Environment
	fs, err := filesystemOf(dir)
	if err != nil {
		return env, fmt.Errorf("capture environment: %w", err)
	}
	env.Facts = Facts{
		Kernel: kernel(), Arch: runtime.GOARCH, CPU: cpuModel(), Cores: runtime.NumCPU(),
		MemoryMiB: memoryMiB(), Virtual: strings.Contains(cpuField("flags"), "hypervisor"),
		Filesystem: fs.kind, MountOptions: fs.options,
		WriteCache: fs.queue("write_cache"), Scheduler: chosen(fs.queue("scheduler")),
		Rotational:  fs.queue("rotational"),
		Governor:    line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		ClockSource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	env.Go = goFacts()
	env.Fingerprint = env.Facts.fingerprint()
	env.Before = ReadPressures()
	env.After = env.Before
	return env, nil
}

func (f Facts) fingerprint() string {
	raw, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("BUG: facts do not encode: %v", err))
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:6])
}

func (e *Environment) check() error {
	if e.Fingerprint != e.Facts.fingerprint() {
		return invalid("fingerprint %q is not that of the facts, %q", e.Fingerprint, e.Facts.fingerprint())
	}
	if e.Go.Version == "" {
		return invalid("the Go version is missing")
	}
	for _, v := range []string{e.Facts.MountOptions, e.Facts.CPU, e.Facts.Filesystem} {
		if strings.HasPrefix(v, "/") || strings.Contains(v, "=/") {
			return invalid("the environment holds an absolute path: %q", v)
		}
	}
	return nil
}

// Cautions lists why two results of equal fingerprints should still be compared
// with care: probes that differ by more than half, another toolchain.
func (e *Environment) Cautions(other *Environment) []string {
	var out []string
	if e.Go != other.Go {
		out = append(out, fmt.Sprintf("Go settings differ: %v then, %v now", other.Go, e.Go))
	}
	for _, p := range [][3]any{
		{"4 KiB fdatasync on written space", other.Probes.SyncWrittenNs, e.Probes.SyncWrittenNs},
		{"loopback round trip", other.Probes.LoopbackNs, e.Probes.LoopbackNs},
		{"CPU loop", other.Probes.CPULoopNs, e.Probes.CPULoopNs},
	} {
		then, now := p[1].(float64), p[2].(float64)
		if then > 0 && now > 0 && (now/then > 1.5 || then/now > 1.5) {
			out = append(out, fmt.Sprintf("%s took %.0f ns then, %.0f ns now", p[0], then, now))
		}
	}
	return out
}

// ReadPressures reads the machine's business now; zeros where it does not tell.
func ReadPressures() Pressures {
	p := Pressures{
		CPUSome10: psi("cpu"), IOSome10: psi("io"), MemorySome10: psi("memory"),
	}
	if f := strings.Fields(line("/proc/loadavg")); len(f) > 0 {
		p.Load1, _ = strconv.ParseFloat(f[0], 64)
	}
	fields := strings.Fields(line("/proc/stat"))
	for i := 1; i < len(fields) && i <= 8; i++ { // user … steal; guest is inside user
		v, _ := strconv.ParseUint(fields[i], 10, 64)
		p.TotalTicks += v
		switch i {
		case 4, 5: // idle, iowait
			p.IdleTicks += v
		case 8:
			p.StealTicks = v
		}
	}
	return p
}

func psi(what string) float64 {
	_, rest, ok := strings.Cut(line("/proc/pressure/"+what), "avg10=")
	if !ok {
		return 0
	}
	word, _, _ := strings.Cut(rest, " ")
	v, _ := strconv.ParseFloat(word, 64)
	return v
}

func goFacts() GoFacts {
	g := GoFacts{
		Version: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		GOGC: os.Getenv("GOGC"), GOMEMLIMIT: os.Getenv("GOMEMLIMIT"),
	}
	if g.GOGC == "" {
		g.GOGC = "100"
	}
	if g.GOMEMLIMIT == "" {
		g.GOMEMLIMIT = "off"
	}
	return g
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func cpuModel() string {
	if m := cpuField("model name"); m != "" {
		return m
	}
	return cpuField("CPU part")
}

func cpuField(name string) string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(raw), "\n") {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memoryMiB() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit) >> 26 << 6
}

// line is the first line of a small file, "" if it cannot be read.
func line(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	return strings.TrimSpace(first)
}

// chosen picks the active word of "none [mq-deadline] kyber".
func chosen(s string) string {
	if _, rest, ok := strings.Cut(s, "["); ok {
		word, _, _ := strings.Cut(rest, "]")
		return word
	}
	return s
}

// Source is the commit the running program was built from, as the toolchain
// stamped it; "unknown" where it was built without version control.
func Source() Commit {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Commit{Hash: Unknown}
	}
	return commitOf(info)
}

// SourceOf tells what the Go program in a file was built from; a file that does
// not tell is of an unknown commit.
func SourceOf(path string) Commit {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return Commit{Hash: Unknown}
	}
	return commitOf(info)
}

// Unknown is the hash of a program that was built without its commit.
const Unknown = "unknown"

// Exact says whether the commit tells all of the source.
func (c Commit) Exact() bool { return c.Hash != "" && c.Hash != Unknown && !c.Dirty }

func commitOf(info *debug.BuildInfo) Commit {
	c := Commit{Hash: Unknown}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			c.Hash = s.Value
		case "vcs.modified":
			c.Dirty = s.Value == "true"
		}
	}
	return c
}
