package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"regexp"
	"runtime"
	"runtime/trace"
	"sync"
	"time"

	"github.com/felixge/fgprof"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer serves what an operator and the lab look at: /metrics, /healthz,
// /readyz, /status, /cluster, /checksum, /debug/pprof/, /debug/fgprof, /debug/flight. Only
// POST /cluster/… changes anything.
type adminServer struct {
	node     *Node
	http     *http.Server
	addr     net.Addr
	listener net.Listener
	served   chan struct{} // closed when the accept loop ended; nil before start
	flightMu sync.Mutex    // guards flight: one recording at a time
	flight   *trace.FlightRecorder
	close    sync.Once
	closeErr error
}

// listenAdmin takes addr. Requests wait until start.
func listenAdmin(n *Node, addr string) (*adminServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for admin requests: %w", err)
	}
	a := &adminServer{node: n, addr: l.Addr(), listener: l}
	a.http = &http.Server{Handler: a.mux(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	return a, nil
}

// start serves until Close. Everything the node tells of itself must be there:
// a scraper asks at once.
func (a *adminServer) start() {
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		_ = a.http.Serve(a.listener) // ErrServerClosed: the only way out is Close
	}()
}

// Close stops serving; requests under way get a second to end. Idempotent.
func (a *adminServer) Close() error {
	a.close.Do(func() {
		if a.served == nil {
			a.closeErr = a.listener.Close()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := a.http.Shutdown(ctx); err != nil {
			a.closeErr = a.http.Close()
		}
		<-a.served
		a.flightMu.Lock()
		defer a.flightMu.Unlock()
		if a.flight != nil {
			a.flight.Stop()
		}
	})
	return a.closeErr
}

func (a *adminServer) mux() *http.ServeMux {
	mux := http.NewServeMux()
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{node: a.node}, collectors.NewGoCollector(
		collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsScheduler, mutexWait)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.node.Err()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.node.Ready()) })
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /cluster", a.cluster)
	mux.HandleFunc("GET /checksum", a.checksum)
	mux.HandleFunc("POST /cluster/move", a.operate(a.move))
	mux.HandleFunc("POST /cluster/transfer", a.operate(a.transfer))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/mutex", whileSampling(pprof.Handler("mutex"), func(on bool) {
		runtime.SetMutexProfileFraction(rate(on, mutexFraction))
	}))
	mux.HandleFunc("/debug/pprof/block", whileSampling(pprof.Handler("block"), func(on bool) {
		runtime.SetBlockProfileRate(rate(on, blockRateNS))
	}))
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/debug/fgprof", fgprof.Handler())
	mux.HandleFunc("POST /debug/flight/start", a.flightStart)
	mux.HandleFunc("GET /debug/flight", a.flightDump)
	return mux
}

// mutexWait is the time that goroutines have waited for a Mutex or RWMutex:
// go_sync_mutex_wait_total_seconds_total.
var mutexWait = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/sync/mutex/wait/total:seconds$`)}

// Contention is sampled only while somebody asks for it with ?seconds=N: one
// mutex event in mutexFraction, blocking of blockRateNS or more on average.
const (
	mutexFraction = 10
	blockRateNS   = 10_000
)

func rate(on bool, r int) int {
	if on {
		return r
	}
	return 0
}

// whileSampling turns sampling on for one request at a time.
func whileSampling(h http.Handler, set func(on bool)) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		set(true)
		defer set(false)
		h.ServeHTTP(w, r)
	}
}

// answer says ok, or 503 with the reason.
func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (a *adminServer) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(a.node.Status()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// flightStart begins to keep the last seconds of the execution trace, so that
// GET /debug/flight can give what led up to a slow moment.
func (a *adminServer) flightStart(w http.ResponseWriter, _ *http.Request) {
	a.flightMu.Lock()
	defer a.flightMu.Unlock()
	if a.flight == nil {
		f := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: 5 * time.Second, MaxBytes: 16 << 20})
		if err := f.Start(); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		a.flight = f
	}
	answer(w, nil)
}

var errNoFlight = errors.New("the flight recorder is off: POST /debug/flight/start first")

func (a *adminServer) flightDump(w http.ResponseWriter, _ *http.Request) {
	a.flightMu.Lock()
	defer a.flightMu.Unlock()
	if a.flight == nil {
		http.Error(w, errNoFlight.Error(), http.StatusConflict)
		return
	}
	var b bytes.Buffer
	if _, err := a.flight.WriteTo(&b); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(b.Bytes()) // the client went away: nothing to mend
}
