package engine

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// get asks the admin address and gives status and body.
func (b *bed) get(page string) (int, string) {
	b.t.Helper()
	return b.fetchPage(http.MethodGet, page)
}

func (b *bed) fetchPage(method, page string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(soon(b.t), method, "http://"+b.node.AdminAddr()+page, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		b.t.Fatalf("%s: %v", page, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s: %v", page, err)
	}
	return resp.StatusCode, string(body)
}

var sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? (\S+)$`)

// metrics reads /metrics: every sample by name and labels. Each line must be
// one of the text format, each sample must follow its TYPE.
func (b *bed) metrics() map[string]float64 {
	b.t.Helper()
	code, body := b.get("/metrics")
	if code != http.StatusOK {
		b.t.Fatalf("/metrics: %d\n%s", code, body)
	}
	out, typed := map[string]float64{}, map[string]bool{}
	for sc := bufio.NewScanner(strings.NewReader(body)); sc.Scan(); {
		line := sc.Text()
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			typed[strings.Fields(rest)[0]] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			b.t.Fatalf("/metrics: not a sample: %q", line)
		}
		v, err := strconv.ParseFloat(m[4], 64)
		family := m[1] // a summary's or histogram's samples have suffixes of their own
		for _, suffix := range []string{"_sum", "_count", "_bucket"} {
			family = strings.TrimSuffix(family, suffix)
		}
		if err != nil || !typed[m[1]] && !typed[family] {
			b.t.Fatalf("/metrics: %q: %v, typed %v", line, err, typed[m[1]])
		}
		out[m[1]+m[2]] = v
	}
	return out
}

func TestHTTPMetrics(t *testing.T) {
	b := newBed(t)
	b.topic("m", 3)
	before := b.metrics()
	b.produce("m", 0, "a")
	b.produce("m", 1, "b")
	_ = b.rawProduce(b.client(byName()), "m", 77, testBatch(1, 10)) // an error to count
	after := b.metrics()
	for _, name := range []string{
		"dyno_kafka_batches_total", "dyno_raft_proposed_entries_total", "dyno_wal_fdatasyncs_total", "dyno_wal_records_total",
		`dyno_kafka_requests_total{api="Produce"}`, `dyno_kafka_errors_total{code="3"}`, "dyno_kafka_received_bytes_total", "dyno_wal_written_bytes_total",
	} {
		if after[name] <= before[name] {
			t.Errorf("%s went from %v to %v", name, before[name], after[name])
		}
	}
	if after["dyno_partitions"] != 3 || after[`dyno_raft_groups{role="leader"}`] != 4 || after["dyno_wal_streams"] != 4 {
		t.Errorf("partitions %v, leaders %v, streams %v; want 3, 4, 4",
			after["dyno_partitions"], after[`dyno_raft_groups{role="leader"}`], after["dyno_wal_streams"])
	}
	if got := after["dyno_kafka_batches_total"] - before["dyno_kafka_batches_total"]; got != 2 {
		t.Errorf("%v batches for two", got)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&collector{node: b.node})
	families, err := reg.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families { // counters and no others are totals, and all explain themselves
		if strings.HasSuffix(f.GetName(), "_total") != (f.GetType().String() == "COUNTER") || f.GetHelp() == "" {
			t.Errorf("%s is a %v, help %q", f.GetName(), f.GetType(), f.GetHelp())
		}
	}
	documented(t, after)
}

// documented wants every metric that ARCHITECTURE.md and README.md name in the
// page.
func documented(t *testing.T, page map[string]float64) {
	t.Helper()
	have := map[string]bool{}
	for name := range page {
		have[strings.SplitN(name, "{", 2)[0]] = true
	}
	names := 0
	for _, doc := range []string{"../ARCHITECTURE.md", "../README.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`dyno_[a-z_]+`").FindAllString(string(text), -1) {
			names++
			if name = strings.Trim(name, "`"); !have[name] {
				t.Errorf("%s names %s, which is not on the page", doc, name)
			}
		}
	}
	if names < 5 {
		t.Errorf("only %d metrics are documented: does the test still find them?", names)
	}
}

func TestHTTPStatus(t *testing.T) {
	b := newBed(t)
	b.topic("s", 2)
	b.produce("s", 1, "a", "b")
	for _, page := range []string{"/healthz", "/readyz"} {
		if code, body := b.get(page); code != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", page, code, body)
		}
	}
	var body string
	var s Status
	until(t, "the page shows what was answered", func() bool { // at the end of the turn that answers
		var code int
		code, body = b.get("/status")
		s = Status{}
		if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
			t.Fatalf("/status: %d %v\n%s", code, err, body)
		}
		return len(s.Replicas) == 2 && s.Replicas[1].Applied == s.Replicas[1].Last
	})
	if s.Node != 1 || s.Cluster != "bed" || !s.Ready || s.KafkaAddr != b.node.KafkaAddr() || len(s.Replicas) != 2 {
		t.Errorf("/status: %s", body)
	}
	p := s.Replicas[1]
	if p.Topic != "s" || p.Partition != 1 || p.Role != "leader" || p.HighWatermark != 2 || p.Commit != p.Last {
		t.Errorf("/status: partition %+v", p)
	}
	if code, _ := b.get("/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing: %d", code)
	}
}

func TestHTTPProfiles(t *testing.T) {
	b := newBed(t)
	for page, want := range map[string]string{
		"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "multiraft", "/debug/pprof/heap": "\x1f\x8b",
		"/debug/pprof/profile?seconds=1": "\x1f\x8b", "/debug/fgprof?seconds=1": "\x1f\x8b", "/debug/pprof/mutex": "\x1f\x8b", "/debug/pprof/block": "\x1f\x8b",
	} {
		t.Run(strings.Trim(strings.NewReplacer("/", "_", "?", "_").Replace(page), "_"), func(t *testing.T) {
			t.Parallel()
			if code, body := b.get(page); code != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s: %d, %d bytes, want %q in it", page, code, len(body), want)
			}
		})
	}
}

func TestHTTPFlight(t *testing.T) {
	b := newBed(t)
	if code, body := b.get("/debug/flight"); code != http.StatusConflict || !strings.Contains(body, "start") {
		t.Errorf("dump before the start: %d %q", code, body)
	}
	if code, _ := b.get("/debug/flight/start"); code != http.StatusMethodNotAllowed {
		t.Errorf("start by GET: %d", code)
	}
	for range 2 { // a second start is the first one's
		if code, body := b.fetchPage(http.MethodPost, "/debug/flight/start"); code != http.StatusOK {
			t.Fatalf("start: %d %q", code, body)
		}
	}
	b.topic("f", 1)
	b.produce("f", 0, "a")
	if code, body := b.get("/debug/flight"); code != http.StatusOK || !strings.HasPrefix(body, "go 1.") {
		t.Errorf("dump: %d, begins %.16q, want an execution trace", code, body)
	}
}

// A scraper that knocks while the node starts gets no half answer.
func TestHTTPDuringStart(t *testing.T) {
	b := newBed(t)
	b.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.AdminAddr = l.Addr().String()
	_ = l.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, page := range []string{"/metrics", "/status"} {
		wg.Go(func() {
			tr := &http.Transport{DisableKeepAlives: true}
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, _ := http.NewRequest(http.MethodGet, "http://"+b.cfg.AdminAddr+page, nil)
				resp, err := tr.RoundTrip(req)
				if err != nil {
					continue // not listening, or closed
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK || err == nil && len(body) == 0 {
					t.Errorf("%s: %d", page, resp.StatusCode)
				}
			}
		})
	}
	for range 10 {
		b.open()
		b.close()
	}
	close(stop)
	wg.Wait()
}
