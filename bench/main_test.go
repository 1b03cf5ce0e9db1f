package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dyno/engine"
	"dyno/engine/ids"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"dyno/bench/cell"
	"dyno/bench/micro"
)

// The test binary plays dyno: started with "up" it is a cluster of fake brokers
// in one process, with "child" a measuring child. Under the name of dyno-peers it
// plays that.
const (
	fakeEnv = "DYNO_BENCH_FAKE" // how the fake broker behaves
	markEnv = "DYNO_BENCH_MARK" // names the test whose processes these are
)

// The ways of the fake broker.
const (
	fakeGood   = "good"
	fakeSilent = "silent" // never says that it serves
	fakeBroken = "broken" // exits at once with an error
	fakeApart  = "apart"  // good, but node 3 holds other bytes
	fakeDies   = "dies"   // ends by itself once it is asked to take records
	fakeLoses  = "loses"  // good, but its micro lane breaks a promise in a directory of this name
	fakeOld    = "old"    // knows neither the flags nor the works of today
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Getenv(fakeEnv) != "" {
		if filepath.Base(os.Args[0]) == fakePeersName {
			os.Exit(fakePeers(os.Args[1]))
		}
		switch os.Args[1] {
		case "up":
			os.Exit(fakeUp(os.Args[2:]))
		case "child", "bench":
			switch os.Getenv(fakeEnv) {
			case fakeOld:
				os.Exit(fakeChildOf(nil))
			case fakeLoses:
				os.Exit(fakeChildOf(map[string]cell.Work{workMicro: losesRecords}))
			}
			if err := ServeChild(context.Background(), os.Stdout); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if realDir != "" {
			os.RemoveAll(realDir)
		}
		os.Exit(code)
	}))
}

// long skips a test that takes ten seconds or more unless `make test-slow` or `make test-long` runs it. The first finds it by its
// name, which must say so.
func long(t *testing.T) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestLong") {
		t.Fatal("a long test is named TestLong...: make test-slow would leave it out")
	}
	if os.Getenv("DYNO_LONG") == "" {
		t.Skip("takes ten seconds or more: make test-slow runs it")
	}
}

// realDyno is the program itself, built once for the tests that need nodes which
// can be killed one by one.
var realDyno = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dyno-bench-test-")
	if err != nil {
		return "", err
	}
	realDir = dir
	bin := filepath.Join(dir, "dyno")
	if out, err := exec.Command("go", "build", "-o", bin, "dyno/cmd/dyno").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

var realDir string // of realDyno; "" while it is not built

// buildDyno gives the path of the program.
func buildDyno(t *testing.T) string {
	t.Helper()
	bin, err := realDyno()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// fakeChildOf is a measuring child that knows these works.
func fakeChildOf(works map[string]cell.Work) int {
	in, err := cell.Stdin()
	if err == nil {
		err = cell.Serve(context.Background(), in, os.Stdout, works)
	}
	if err != nil {
		return 1
	}
	return 0
}

// losesRecords plays a run of the micro lane whose node gives back less than it took.
func losesRecords(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec micro.Spec
	if err := errors.Join(json.Unmarshal(raw, &spec), s.Report(struct{}{}), s.Await(ctx)); err != nil {
		return nil, err
	}
	if filepath.Base(spec.Dir) == fakeLoses {
		return nil, fmt.Errorf("fetch: %w: 3 records of 4", cell.ErrVerify)
	}
	return micro.Result{Began: time.Now(), Seconds: 1}, nil
}

// fakeUp is `dyno up` with an in-memory broker.
func fakeUp(args []string) int {
	way := os.Getenv(fakeEnv)
	if slices.Contains(args, "--help") {
		known := append(upFlags[:len(upFlags):len(upFlags)], "--config")
		if way == fakeOld {
			known = known[:3]
		}
		fmt.Println(strings.Join(known, " "))
		return 0
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if way == fakeBroken {
		fmt.Fprintln(os.Stderr, "port 21000 is in use by another program")
		return 69
	}
	port := flagValue(args, "--kafka-port")
	data := flagValue(args, "--data")
	err := os.MkdirAll(data, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "node"), []byte("data"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if transport := flagValue(args, "--transport"); transport != "" { // the one that is tested comes with TLS
		text, err := os.ReadFile(flagValue(args, "--config"))
		if err != nil || !strings.Contains(string(text), "peer_tls") || transport != "grpc" {
			fmt.Fprintf(os.Stderr, "settings %q, %v, arguments %v\n", text, err, args)
			return 64
		}
	}
	if config := flagValue(args, "--config"); config != "" && flagValue(args, "--transport") == "" { // an arm that is slow on purpose
		text, err := os.ReadFile(config)
		if err != nil || string(text) != fakeArm {
			fmt.Fprintf(os.Stderr, "settings %q, %v\n", text, err)
			return 64
		}
		if err := os.WriteFile(filepath.Join(data, fakeHadSettings), nil, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if way == fakeSilent {
		<-stop
		return 0
	}
	number, _ := strconv.Atoi(port)
	nodes, _ := strconv.Atoi(flagValue(args, "--nodes"))
	if err := fakeNodes(way, number, nodes, stop); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 69
	}
	return 0
}

// fakeHadSettings is the file that a broker leaves in its data when it got fakeArm.
const fakeHadSettings = "settings"

// fakeArm is what the nodes of the one slow arm are told that fakes play.
const fakeArm = "experiment:\n  only_to_measure: true\n  batch: timer\n  nested: true\n"

// fakeNodes serves as that many nodes from port on, until it is told to stop.
func fakeNodes(way string, port, nodes int, stop <-chan os.Signal) error {
	ports := make([]int, nodes)
	for i := range ports {
		ports[i] = port + i
	}
	cluster, err := kfake.NewCluster(kfake.Ports(ports...), kfake.NumBrokers(nodes))
	if err != nil {
		return err
	}
	defer cluster.Close()
	var requests atomic.Int64
	slowDown(cluster, way, &requests)
	var list []node
	layout := engine.ClusterStatus{Partitions: []engine.PartitionLayout{{Topic: loadTopic, Leader: 1}}}
	for i := range ports {
		id := ids.NodeID(i + 1)
		layout.Brokers = append(layout.Brokers, engine.BrokerStatus{Node: id, Admin: fmt.Sprintf("127.0.0.1:%d", ports[i]+2*raftOffset)})
		layout.Partitions[0].Replicas = append(layout.Partitions[0].Replicas, id)
	}
	for i, p := range ports {
		admin, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p+2*raftOffset))
		if err != nil {
			return err
		}
		counted := new(atomic.Int64)
		if i == 0 {
			counted = &requests // the counters of one node are those of all
		}
		go http.Serve(admin, fakeAdmin(counted, ids.NodeID(i+1), way, &layout)) //nolint:errcheck // ends with the process
		list = append(list, node{ID: i + 1, PID: os.Getpid(), Kafka: fmt.Sprintf("127.0.0.1:%d", p), Admin: admin.Addr().String()})
	}
	line, err := json.Marshal(map[string]any{"bootstrap": strings.Join(cluster.ListenAddrs(), ","), "nodes": list})
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", line)
	<-stop
	return nil
}

// slowDown gives the fake a service time, so long that the generator is never the
// bottleneck, and counts produce requests.
func slowDown(cluster *kfake.Cluster, way string, requests *atomic.Int64) {
	const service = 200 * time.Millisecond
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if requests.Add(1) == 8 && way == fakeDies {
			fmt.Fprintln(os.Stderr, "panic: the fake was told to die")
			os.Exit(2)
		}
		cluster.SleepControl(func() { <-time.After(service) })
		return nil, nil, false
	})
}

// fakeAdmin serves counters that move with the produce requests, and a partition whose
// replicas are the same, or not.
func fakeAdmin(requests *atomic.Int64, id ids.NodeID, way string, layout *engine.ClusterStatus) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		n := requests.Load()
		fmt.Fprintf(w, "%s %d\n%s %d\n%s %d\n%s %d\n", metricProposals, n, metricProposed, 4*n, metricPolls, 0, metricMutexWait, n)
		fmt.Fprintf(w, "# TYPE %s counter\n%s %d\n%s{part=\"a\"} %d\n%s{part=\"b\"} %d\n%s %d\n%s %d\n%s %d\n%s %d\n%s %d\n",
			metricSyncs, metricSyncs, n, metricWritten, 1000*n, metricWritten, 100*n, metricSubmitted, 1000*n,
			metricEntries, 3*n, metricReused, n, metricBatches, 2*n, metricObjects, 3*n)
	})
	mux.HandleFunc("GET /cluster", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(layout) })
	mux.HandleFunc("GET /checksum", func(w http.ResponseWriter, _ *http.Request) {
		sum := engine.Checksum{Node: id, Topic: loadTopic, CRC32C: 7}
		if way == fakeApart && id == 3 {
			sum.CRC32C = 8
		}
		_ = json.NewEncoder(w).Encode(sum)
	})
	mux.HandleFunc("/debug/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.URL.Path) })
	return mux
}

func flagValue(args []string, name string) string {
	for i, a := range args {
		if a == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// fakeLab makes options for a lab of its own with the fake broker, and returns
// a function that lists processes of this test which are still alive.
func fakeLab(t *testing.T, way string) (Options, SuiteConfig, func() []string) {
	t.Helper()
	t.Setenv(fakeEnv, way)
	mark := fmt.Sprintf("%s=%s-%d", markEnv, t.Name(), os.Getpid())
	t.Setenv(markEnv, strings.TrimPrefix(mark, markEnv+"="))
	opt := Options{
		Results: filepath.Join(t.TempDir(), "results"), Profiles: filepath.Join(t.TempDir(), "profiles"),
		Child: []string{os.Args[0], "child"}, Out: &strings.Builder{}, Err: &strings.Builder{},
		lock: "@dyno-lab-test-" + t.Name(), quiet: quietRule{Share: 1, Window: time.Millisecond, WaitMax: time.Millisecond},
	}
	cfg := SuiteConfig{Dyno: []string{os.Args[0]}, Nodes: 1, Repetitions: 1, RecordBytes: 4096,
		Warmup: 100 * time.Millisecond, Window: 2500 * time.Millisecond}
	return opt, cfg, func() []string { return alive(mark) }
}

// alive lists the processes other than this one whose environment holds mark.
func alive(mark string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		pid := filepath.Base(filepath.Dir(p))
		raw, err := os.ReadFile(p)
		if err == nil && pid != strconv.Itoa(os.Getpid()) && strings.Contains("\x00"+string(raw), "\x00"+mark+"\x00") {
			found = append(found, pid)
		}
	}
	return found
}

// emptyOrGone fails the test if a lab left something in its directory.
func emptyOrGone(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err == nil && len(left) > 0 {
		t.Errorf("left behind in %s: %v", filepath.Base(dir), left)
	}
}
