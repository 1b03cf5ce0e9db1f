package natspeer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ServerArg is the argument that makes a program of ours call ServeNode.
const ServerArg = "nats-server"

// nodeSpec is the one line a server process reads first.
type nodeSpec struct {
	// Config is what the server's configuration file would say.
	Config json.RawMessage `json:"config"`
	// Orphan is removed by a server whose parent died before it could, and then
	// OrphanRoot if nothing is left in it; "" is nothing.
	Orphan     string `json:"orphan"`
	OrphanRoot string `json:"orphan_root"`
}

// nodeReady is the one line a server process writes, once it serves clients and
// knows a leader of JetStream's metadata.
type nodeReady struct {
	Client  string `json:"client"` // address for clients
	Version string `json:"version"`
	Meta    string `json:"meta"` // the metadata's leader
	Error   string `json:"error,omitempty"`
	Taken   bool   `json:"taken,omitempty"` // the error is a port that another process has
}

// nodeConfig is a server's configuration: what its users write, and nothing
// tuned. JSON is part of the server's own configuration language.
type nodeConfig struct {
	Name          string      `json:"server_name"`
	Listen        string      `json:"listen"`
	Authorization credentials `json:"authorization"`
	JetStream     storeConfig `json:"jetstream"`
	Cluster       routeConfig `json:"cluster"`
}

type credentials struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

type storeConfig struct {
	Dir  string `json:"store_dir"`
	Sync string `json:"sync_interval,omitempty"`
}

type routeConfig struct {
	Name          string      `json:"name"`
	Listen        string      `json:"listen"`
	Authorization credentials `json:"authorization"`
	Routes        []string    `json:"routes"`
}

const (
	readyWait = 30 * time.Second // from the start of a server to a leader of the metadata
	readyPoll = 20 * time.Millisecond
	shutWait  = 10 * time.Second
)

// ServeNode is the whole life of a server process: it reads its nodeSpec from
// in, serves, and shuts down when ctx ends, in ends or the server gives up. It
// closes in, whose Close must unblock a read, and has joined its goroutine when
// it returns; the server's own have ended too.
func ServeNode(ctx context.Context, in io.ReadCloser, out io.Writer, diagnostics io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dec := json.NewDecoder(in)
	var spec nodeSpec
	if err := dec.Decode(&spec); err != nil {
		in.Close()
		return fmt.Errorf("%w: a server process is started by `dyno-peers nats`: %v", ErrUsage, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, in) // until the parent hangs up
		cancel(errParentGone)
	}()
	defer func() { in.Close(); <-read }()
	return spec.serve(ctx, cancel, read, out, diagnostics)
}

// serve runs the server until ctx ends. orphaned is closed when the parent has
// hung up, which it does not while it lives.
func (spec *nodeSpec) serve(ctx context.Context, cancel context.CancelCauseFunc, orphaned <-chan struct{}, out, diagnostics io.Writer) error {
	log := &nodeLog{w: diagnostics, fail: cancel}
	srv, err := newServer(spec.Config, log)
	if err != nil {
		return say(out, nodeReady{Error: err.Error()})
	}
	go srv.Start() // it returns once it listens, or has called Fatalf
	ready, err := awaitMeta(ctx, srv)
	if err != nil {
		ready = nodeReady{Error: err.Error(), Taken: strings.Contains(err.Error(), "address already in use")}
	}
	err = say(out, ready)
	if err == nil && ready.Error == "" {
		<-ctx.Done()
		err = ended(context.Cause(ctx))
	}
	err = errors.Join(err, shutDown(srv))
	select {
	case <-orphaned:
		return errors.Join(err, spec.clear())
	default:
		return err
	}
}

// clear does what the dead parent would have done.
func (spec *nodeSpec) clear() (err error) {
	if spec.Orphan != "" {
		err = os.RemoveAll(spec.Orphan)
	}
	if spec.OrphanRoot != "" {
		_ = os.Remove(spec.OrphanRoot) // the last server to end succeeds
	}
	return err
}

// shutDown waits shutWait at most: the process ends then in any case.
func shutDown(srv *server.Server) error {
	down := make(chan struct{})
	go func() {
		defer close(down)
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	select {
	case <-down:
		return nil
	case <-time.After(shutWait):
		return fmt.Errorf("the server did not shut down within %v", shutWait)
	}
}

// ended is nil where a server was asked to end.
func ended(cause error) error {
	if errors.Is(cause, errParentGone) || errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

var errParentGone = errors.New("the parent process is gone")

func say(out io.Writer, r nodeReady) error {
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	return nil
}

func newServer(config json.RawMessage, log server.Logger) (*server.Server, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString(string(config)); err != nil {
		return nil, fmt.Errorf("server configuration: %w", err)
	}
	opts.NoSigs = true // ours are handled where the program starts
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	srv.SetLoggerV2(log, false, false, false)
	return srv, nil
}

// awaitMeta waits until the server serves clients and the cluster has a leader
// of its metadata which this server follows.
func awaitMeta(ctx context.Context, srv *server.Server) (nodeReady, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nodeReady{}, fmt.Errorf("not ready: %w", context.Cause(ctx))
		}
		addr := srv.Addr()
		if addr == nil || !srv.JetStreamEnabled() || !srv.JetStreamIsClustered() || !srv.JetStreamIsCurrent() {
			continue
		}
		info, err := srv.Jsz(nil)
		if err != nil {
			return nodeReady{}, fmt.Errorf("ask for the metadata's leader: %w", err)
		}
		if info.Meta != nil && info.Meta.Leader != "" {
			return nodeReady{Client: addr.String(), Version: server.VERSION, Meta: info.Meta.Leader}, nil
		}
	}
}

// nodeLog passes the server's warnings on. What the server holds for fatal ends
// it; the library itself would end the process.
type nodeLog struct {
	w    io.Writer
	fail context.CancelCauseFunc
}

func (l *nodeLog) say(level, format string, v ...any) { fmt.Fprintf(l.w, level+format+"\n", v...) }

func (l *nodeLog) Noticef(string, ...any) {}
func (l *nodeLog) Debugf(string, ...any)  {}
func (l *nodeLog) Tracef(string, ...any)  {}

func (l *nodeLog) Warnf(format string, v ...any)  { l.say("warning: ", format, v...) }
func (l *nodeLog) Errorf(format string, v ...any) { l.say("error: ", format, v...) }
func (l *nodeLog) Fatalf(format string, v ...any) {
	l.say("fatal: ", format, v...)
	l.fail(fmt.Errorf("the server gave up: "+format, v...))
}
