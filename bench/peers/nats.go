package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"dyno/bench/cell"
	"dyno/bench/peers/natspeer"
	"dyno/loadgen"
)

const natsUsage = `dyno-peers nats: measure NATS JetStream with three replicas

Starts three servers on loopback, each a process of its own with its data below
--data, makes --streams streams with three replicas in files, loads them, and
checks that they hold what was acknowledged. Progress goes to standard error, a
JSON line a second; the result to standard output, one JSON object with the names
of dyno.load/1. Everything started and made is gone when it returns.

  dyno-peers nats --data DIR                                     saturate, fsync before each answer
  dyno-peers nats --data DIR --sync default                      saturate, as shipped: no fsync before an answer
  dyno-peers nats --data DIR --closed-loop 64                    64 clients with one message in flight each
  dyno-peers nats --data DIR --rate 20000 --window 30s           on a schedule, response from the intended start
  dyno-peers nats --data DIR --verify read                       read every message back afterwards

Flags:
  --data DIR         new or empty directory on the disk to be measured (required)
  --sync POLICY      always, or default: in the background every 2 minutes (always)
  --streams N        streams, three replicas each (8)
  --size BYTES       of a message; its content does not compress (1024)
  --publishers N     pipelined clients, a connection each (one per stream)
  --pending N        most unanswered messages per publisher (2 MiB of them per stream: 2048 of 1 KiB)
  --closed-loop N    instead: clients with a connection and one message in flight each
  --rate N           messages/s of all publishers on a schedule; without it they saturate
  --connect WHERE    leader: to the leader of a client's stream; spread: to the servers in turn (leader)
  --warmup D         load before the timed window (2s)
  --window D         timed window (5s)
  --verify HOW       counts: what the streams hold; read: counts, and read every message back (counts)
  --seed N           of the payload (1)
  --keep             leave the servers' data in DIR

Exit codes: 0 good, 1 violation, 64 usage, 69 could not run.
`

// natsFlags are the flags of `dyno-peers nats`, natsUsage tells of them.
func natsFlags(cfg *natspeer.Config) *flag.FlagSet {
	f := flag.NewFlagSet("nats", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&cfg.Dir, "data", "", "")
	f.StringVar((*string)(&cfg.Sync), "sync", string(natspeer.SyncAlways), "")
	f.IntVar(&cfg.Streams, "streams", 8, "")
	f.IntVar(&cfg.SizeBytes, "size", 1024, "")
	f.IntVar(&cfg.Publishers, "publishers", 0, "")
	f.IntVar(&cfg.Pending, "pending", 0, "")
	f.IntVar(&cfg.ClosedLoop, "closed-loop", 0, "")
	f.Float64Var(&cfg.Rate, "rate", 0, "")
	f.StringVar((*string)(&cfg.Connect), "connect", string(natspeer.ConnectLeader), "")
	f.DurationVar(&cfg.Warmup, "warmup", natspeer.DefaultWarmup, "")
	f.DurationVar(&cfg.Window, "window", natspeer.DefaultWindow, "")
	f.StringVar((*string)(&cfg.Verify), "verify", string(natspeer.VerifyCounts), "")
	f.Uint64Var(&cfg.Seed, "seed", 1, "")
	f.BoolVar(&cfg.Keep, "keep", false, "")
	return f
}

// parseNats reads the arguments of `dyno-peers nats`. Errors: flag.ErrHelp,
// natspeer.ErrUsage.
func parseNats(args []string) (natspeer.Config, error) {
	var cfg natspeer.Config
	f := natsFlags(&cfg)
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return cfg, err
	} else if err != nil {
		return cfg, fmt.Errorf("%w: %v; try --help", natspeer.ErrUsage, err)
	}
	if f.NArg() > 0 {
		return cfg, fmt.Errorf("%w: %q is no flag; try --help", natspeer.ErrUsage, f.Arg(0))
	}
	zero := ""
	f.Visit(func(g *flag.Flag) {
		if v := g.Value.String(); g.Name != "warmup" && (v == "0" || v == "0s" || v == "") {
			zero = g.Name
		}
	})
	if zero != "" {
		return cfg, fmt.Errorf("%w: --%s wants a positive value", natspeer.ErrUsage, zero)
	}
	return cfg, cfg.Validate()
}

// runNats is `dyno-peers nats`; it returns the exit code.
func runNats(ctx context.Context, args []string, out, diagnostics io.Writer) int {
	cfg, err := parseNats(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, natsUsage)
		return 0
	}
	var res *natspeer.Result
	if err == nil {
		report, done := loadgen.NewProgress(diagnostics, false)
		cfg.Progress = report
		res, err = natspeer.Run(ctx, cfg, nil)
		done()
	}
	if err == nil {
		err = json.NewEncoder(out).Encode(res)
	}
	switch {
	case errors.Is(err, natspeer.ErrUsage):
		fmt.Fprintln(diagnostics, "dyno-peers nats:", err)
		return 64
	case err != nil:
		fmt.Fprintln(diagnostics, "dyno-peers nats:", err)
		return 69
	case res.Violation != "":
		fmt.Fprintln(diagnostics, "dyno-peers nats: violation:", res.Violation)
		return 1
	}
	return 0
}

// natsWork is the same as one cell: its spec is a natspeer.Config, its progress a
// loadgen.Progress, its result a natspeer.Result.
func natsWork(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var cfg natspeer.Config
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	cfg.Progress = func(p loadgen.Progress) { _ = s.Report(p) } // a parent that is gone cancels ctx
	res, err := natspeer.Run(ctx, cfg, s.Await)
	if errors.Is(err, natspeer.ErrSilent) {
		return nil, fmt.Errorf("nats: %w: %w", cell.ErrSilent, err)
	}
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return res, nil
}

// natsServer is the process of one server.
func natsServer(ctx context.Context) error {
	in, err := cell.Stdin()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a warning must not end a server whose parent is gone: it has to clean up
	return natspeer.ServeNode(ctx, in, os.Stdout, os.Stderr)
}
