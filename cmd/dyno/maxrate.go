package main

import (
	"dyno/bench"
	"dyno/loadgen"

	"github.com/spf13/cobra"
)

const maxrateExamples = `  dyno maxrate --slo p99=10ms --nodes 3
  dyno maxrate --slo p99=10ms --slo p999=50ms --brokers a:9092,b:9092,c:9092 --create --partitions 8 --rf 3
  dyno maxrate --slo p99=5ms --bad 10% --width 5% --start 50000 --trial 5s --confirm 60s --json
  dyno maxrate --slo p99=20ms --brokers a:9093 --topic mine --tls-ca ca.pem --sasl scram-512:alice:password.txt`

// maxrateFlags are the flags that need parsing beyond what cobra does.
type maxrateFlags struct {
	slo        []string
	bad, width string
	sasl       string
}

// newMaxrateCommand is `dyno maxrate`.
func newMaxrateCommand() *cobra.Command {
	var cfg bench.MaxrateConfig
	var opt bench.Options
	var fl maxrateFlags
	cmd := &cobra.Command{
		Use:   "maxrate --slo p99=10ms [--brokers host:port,…]",
		Short: "Find the largest rate at which an SLO holds, as an interval of rates",
		Long: `Find the largest rate at which an SLO holds: the response, from the intended start, within its limits; every record acknowledged,
read back once and in order; nothing left behind; the generator not the bottleneck. With --brokers it loads a cluster that runs,
of any make, and writes into --topic what the trials add up to; without, each trial has fresh brokers of this dyno.

It searches with short trials in the manner of MLRsearch (IETF draft-ietf-bmwg-mlrsearch): doubling, then neighbouring rates in
shuffled order (--seed). Then it measures both ends with fresh trials: a rate held when no more than --bad of at least 1/bad trials
were bad, and failed when more were than chance explains. The answer is the interval from the largest rate that held to the
smallest that failed; one longer trial confirms the lower end, or sends the search below it. Where trials vary too much for
--width the interval is wider and says so. After an interruption the same command goes on where it stopped.

Exit codes: 0 an interval was found, 1 a record was lost, duplicated, reordered or corrupted, 64 usage, 69 could not reach or run,
no rate was confirmed, or the generator was the limit.`,
		Example: maxrateExamples,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fl.apply(cmd, &cfg); err != nil {
				return err
			}
			if err := labOptions(cmd, &opt); err != nil {
				return err
			}
			if cfg.Dyno[0] == "" {
				cfg.Dyno[0] = opt.Child[0]
			}
			_, err := bench.RunMaxrate(cmd.Context(), opt, cfg)
			return labError(err)
		},
	}
	addMaxrateFlags(cmd, &cfg, &fl)
	addLabFlags(cmd, &opt)
	return cmd
}

func addMaxrateFlags(cmd *cobra.Command, cfg *bench.MaxrateConfig, fl *maxrateFlags) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&fl.slo, "slo", nil, "limit of a quantile of the response, such as p99=10ms; may stand several times (p50, p90, p99, p999, max)")
	f.StringVar(&fl.bad, "bad", "5%", "share of bad trials that a rate may have and hold")
	f.StringVar(&fl.width, "width", "3%", "of the interval, as a share of its upper end")
	f.StringSliceVar(&cfg.Brokers, "brokers", nil, "a cluster that runs, host:port,… (default: fresh brokers for each trial)")
	f.IntVar(&cfg.Nodes, "nodes", 3, "fresh brokers, where no --brokers are given")
	f.StringVar(&cfg.Topic, "topic", "dyno-maxrate", "topic to write to, of a cluster that runs")
	f.BoolVar(&cfg.Create, "create", false, "make the topic if it is missing")
	f.IntVar(&cfg.Partitions, "partitions", 8, "partitions of a topic it makes")
	f.IntVar(&cfg.RF, "rf", 0, "replicas of a topic it makes (default 3, or as many as there are nodes)")
	f.StringVar(&cfg.Acks, "acks", "all", "all (idempotent) or 1")
	f.IntVar(&cfg.RecordBytes, "size", 1024, "record value in bytes")
	f.IntVar(&cfg.Producers, "producers", 0, "producing clients (default 2)")
	f.Float64Var(&cfg.Search.Start, "start", 10_000, "first rate, records per second")
	f.Float64Var(&cfg.Search.Lowest, "lowest", 10, "no lower rate is tried")
	f.Float64Var(&cfg.Search.Highest, "highest", 1e8, "no higher rate is tried")
	f.DurationVar(&cfg.Trial, "trial", 0, "window of a short trial (default 3s)")
	f.DurationVar(&cfg.Confirm, "confirm", 0, "window of the confirming trial (default five times --trial)")
	f.DurationVar(&cfg.Warmup, "warmup", 0, "load before each window (default 500ms)")
	f.IntVar(&cfg.Search.TrialsMax, "trials-max", 300, "end without an answer after this many trials")
	f.Uint64Var(&cfg.Search.Seed, "seed", 1, "of the order of neighbouring rates, and of the payloads")
	f.StringVar(&cfg.TLS.CA, "tls-ca", "", "PEM file of the authority that signed the brokers' certificates; turns TLS on")
	f.StringVar(&cfg.TLS.Cert, "tls-cert", "", "PEM file of the client's certificate")
	f.StringVar(&cfg.TLS.Key, "tls-key", "", "PEM file of its key")
	f.StringVar(&fl.sasl, "sasl", "", "mechanism:user:passfile; plain, scram-256 or scram-512")
	f.BoolVar(&cfg.JSON, "json", false, "print one JSON object (dyno.maxrate/1) on standard output")
	cfg.Dyno = make([]string, 1)
	f.StringVar(&cfg.Dyno[0], "dyno", "", "dyno program whose fresh brokers are measured (default this one)")
}

// apply parses the flags into cfg.
func (fl *maxrateFlags) apply(cmd *cobra.Command, cfg *bench.MaxrateConfig) (err error) {
	if err := noZeros(cmd, "nodes", "partitions", "rf", "size", "producers", "start", "lowest", "highest", "trial", "confirm", "trials-max", "seed"); err != nil {
		return err
	}
	if len(cfg.Brokers) > 0 && (cmd.Flags().Changed("nodes") || cmd.Flags().Changed("dyno")) {
		return usageError("--brokers names a cluster that runs: leave out --nodes and --dyno")
	}
	if len(cfg.Brokers) == 0 && (cmd.Flags().Changed("topic") || cmd.Flags().Changed("create") || fl.sasl != "" || cfg.TLS.CA != "") {
		return usageError("--topic, --create, --sasl and --tls-ca are of a cluster that runs: name it with --brokers")
	}
	for _, text := range fl.slo {
		b, err := bench.ParseBound(text)
		if err != nil {
			return &exitError{exitUsage, err}
		}
		cfg.SLO = append(cfg.SLO, b)
	}
	if cfg.Search.Bad, err = bench.ParseShare(fl.bad); err != nil {
		return usageError("--bad: %v", err)
	}
	if cfg.Search.Bad == 0 {
		cfg.Search.Bad = -1 // none is tolerated; 0 would be the default
	}
	if cfg.Search.Width, err = bench.ParseShare(fl.width); err != nil {
		return usageError("--width: %v", err)
	}
	if cfg.Search.Width == 0 {
		return usageError("--width 0: want 1%% to 90%%")
	}
	if fl.sasl != "" {
		if cfg.SASL, err = loadgen.ParseSASL(fl.sasl); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	return nil
}
