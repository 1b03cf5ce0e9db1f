package main

import (
	"errors"
	"fmt"
	"os"

	"dyno/loadgen"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const loadExamples = `  dyno load --brokers a:9092,b:9092 --topic t --create --partitions 8 --rf 3 --acks all --duration 30s --verify
  dyno load --brokers a:9092 --topic t --rate 20000 --arrivals poisson --consumers 2 --warmup 5s --duration 60s --out results
  dyno load --brokers a:9092 --topic t --closed-loop 64 --records 1000000 --json
  dyno load --brokers a:9092 --topic t --read --consumers 3
  dyno load --brokers a:9093 --topic t --tls-ca ca.pem --sasl scram-512:alice:password.txt --workload shop.yaml`

// loadFlags are the flags that need parsing beyond what cobra does.
type loadFlags struct {
	acks, size, keys, arrivals, sasl string
	workload, out                    string
	read, json                       bool
}

// newLoadCommand is `dyno load`.
func newLoadCommand() *cobra.Command {
	var cfg loadgen.Config
	var fl loadFlags
	cmd := &cobra.Command{
		Use:   "load --brokers host:port,…",
		Short: "Load a Kafka-protocol cluster, measure it from the schedule and verify every record",
		Long: `Load any Kafka-protocol cluster (Kafka 2.1+), measure it from the schedule and verify every record.
With neither --rate nor --closed-loop it saturates. Response is counted from the intended start, so a stall is seen by every
record that should have been sent during it. Flags override a workload file. With --read nothing is sent: what the topic holds is
read from its beginning to where it ends now.
Exit codes: 0 good, 1 violation, 64 usage, 69 could not reach or run.`,
		Example: loadExamples,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fl.apply(cmd, &cfg); err != nil {
				return &exitError{exitUsage, err}
			}
			return runLoad(cmd, cfg, &fl)
		},
	}
	addLoadFlags(cmd, &cfg, &fl)
	return cmd
}

func addLoadFlags(cmd *cobra.Command, cfg *loadgen.Config, fl *loadFlags) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&cfg.Brokers, "brokers", nil, "addresses to start from, host:port,…")
	f.StringVar(&cfg.Topic, "topic", "dyno-load", "topic to write to")
	f.BoolVar(&cfg.Create, "create", false, "make the topic if it is missing")
	f.BoolVar(&cfg.Delete, "delete", false, "delete the topic after the run, if the run made it")
	f.IntVar(&cfg.Partitions, "partitions", 8, "partitions of a topic it makes")
	f.IntVar(&cfg.RF, "rf", 1, "replicas of a topic it makes")
	f.StringVar(&fl.acks, "acks", "all", "all (idempotent), 1 or 0")
	f.StringVar(&fl.size, "size", "1024", "record value in bytes, or lognormal:MEAN[:SIGMA[:MAX]]")
	f.Float64Var(&cfg.Rate, "rate", 0, "open loop: records per second over all producers")
	f.IntVar(&cfg.ClosedLoop, "closed-loop", 0, "closed loop: clients, each with a connection and one record in flight")
	f.StringVar(&fl.arrivals, "arrivals", "uniform", "open loop: uniform, poisson, burst or step")
	f.DurationVar(&cfg.Duration, "duration", 0, "timed window (default 30s)")
	f.Int64Var(&cfg.Records, "records", 0, "end the timed window after this many records instead")
	f.DurationVar(&cfg.Warmup, "warmup", 0, "load before the timed window")
	f.IntVar(&cfg.Producers, "producers", 0, "producing clients (default 2)")
	f.IntVar(&cfg.Consumers, "consumers", 0, "live consumers, for the end-to-end latency; with --read how many share the topic (default 1)")
	f.BoolVar(&fl.read, "read", false, "send nothing, read what the topic holds")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of schedule, sizes, keys and payload")
	f.StringVar(&fl.keys, "keys", "none", "none, uniform[:COUNT], zipf[:COUNT[:SKEW]] or hot[:COUNT[:HOT[:SHARE]]]")
	f.Float64Var(&cfg.Workload.Compressibility, "compressibility", 0, "share of the payload a codec can remove, 0 to 1")
	f.StringVar(&cfg.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.DurationVar(&cfg.Linger, "linger", 0, "how long the client waits to fill a batch")
	f.IntVar(&cfg.Inflight, "inflight", 5, "produce requests in flight per connection (acks all: always 5)")
	f.StringVar(&cfg.TLS.CA, "tls-ca", "", "PEM file of the authority that signed the brokers' certificates; turns TLS on")
	f.StringVar(&cfg.TLS.Cert, "tls-cert", "", "PEM file of the client's certificate")
	f.StringVar(&cfg.TLS.Key, "tls-key", "", "PEM file of its key")
	f.StringVar(&fl.sasl, "sasl", "", "mechanism:user:passfile; plain, scram-256 or scram-512")
	f.DurationVar(&cfg.ConnectTimeout, "connect-timeout", 0, "how long to try to reach the cluster, and to wait until every partition has a leader (default 10s)")
	f.BoolVar(&cfg.Verify, "verify", false, "read every record back after the window")
	f.StringVar(&fl.workload, "workload", "", "YAML file with the workload")
	f.StringVar(&fl.out, "out", "", "directory for latency.hlog, *.hgrm, series and the result as JSON and for Prometheus")
	f.BoolVar(&fl.json, "json", false, "print one JSON object (dyno.load/1) on standard output")
}

// apply parses the flags into cfg; a workload file fills what no flag was given for.
func (fl *loadFlags) apply(cmd *cobra.Command, cfg *loadgen.Config) (err error) {
	if cfg.Acks, err = loadgen.ParseAcks(fl.acks); err != nil {
		return err
	}
	if cfg.Workload.Size, err = loadgen.ParseSize(fl.size); err != nil {
		return err
	}
	if cfg.Workload.Keys, err = loadgen.ParseKeys(fl.keys); err != nil {
		return err
	}
	cfg.Profile.Arrivals = loadgen.Arrivals(fl.arrivals)
	if fl.sasl != "" {
		if cfg.SASL, err = loadgen.ParseSASL(fl.sasl); err != nil {
			return err
		}
	}
	for _, name := range []string{"rate", "closed-loop", "records", "duration", "producers", "inflight"} {
		if f := cmd.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
			return usageError("--%s wants a positive value", name)
		}
	}
	if fl.read {
		return fl.checkRead(cmd)
	}
	if fl.workload == "" {
		return nil
	}
	return loadgen.ApplyWorkloadFile(fl.workload, cfg, cmd.Flags().Changed)
}

// checkRead refuses flags of sending: somebody expects something else.
func (fl *loadFlags) checkRead(cmd *cobra.Command) error {
	for _, name := range []string{"create", "delete", "partitions", "rf", "acks", "size", "rate", "closed-loop", "arrivals", "duration", "records", "warmup",
		"producers", "seed", "keys", "compressibility", "compression", "linger", "inflight", "verify", "workload"} {
		if cmd.Flags().Changed(name) {
			return usageError("--read sends nothing: leave out --%s", name)
		}
	}
	return nil
}

// runLoad runs the load and reports it.
func runLoad(cmd *cobra.Command, cfg loadgen.Config, fl *loadFlags) error {
	if fl.out != "" {
		if err := writableDir(fl.out); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	stderr, terminal := cmd.ErrOrStderr(), term.IsTerminal(int(os.Stderr.Fd()))
	report, done := loadgen.NewProgress(stderr, terminal)
	cfg.Progress = report
	run := loadgen.Run
	if fl.read {
		run = loadgen.Read
	}
	r, err := run(cmd.Context(), cfg)
	done()
	var werr error
	if r != nil {
		werr = writeLoad(cmd, r, fl)
		if v := r.Violation(); v != "" { // it outranks whatever else went wrong
			return &exitError{exitViolation, errors.Join(fmt.Errorf("violation: %s", v), err, werr)}
		}
	}
	switch {
	case errors.Is(err, loadgen.ErrUsage):
		return &exitError{exitUsage, err}
	case err != nil || werr != nil:
		return &exitError{exitUnavailable, errors.Join(err, werr)}
	}
	return nil
}

// writableDir makes dir and proves that a file can be made in it, before a run whose files would have no place.
func writableDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		return usageError("--out: %v", err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return usageError("--out: %v", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeLoad prints the result, then writes the files: what a full disk loses is not the verdict.
func writeLoad(cmd *cobra.Command, r *loadgen.Result, fl *loadFlags) error {
	err := printLoad(cmd, r, fl)
	if fl.out != "" {
		err = errors.Join(err, r.WriteDir(fl.out))
	}
	return err
}

func printLoad(cmd *cobra.Command, r *loadgen.Result, fl *loadFlags) error {
	if !fl.json {
		return r.WriteText(cmd.OutOrStdout())
	}
	raw, err := r.JSON()
	if err == nil {
		_, err = cmd.OutOrStdout().Write(raw)
	}
	return err
}
