// Package bench is the lab: it runs suites and experiments in fresh processes
// and fresh directories, verifies what they did, and keeps the result.
//
// It does not judge by eye and does not touch a broker's insides: a cluster is a
// `dyno up` child that is reached over the Kafka protocol and its admin page, and
// by signals to its processes. What has to be inside runs the engine's packages in
// a child of the lab: the power cut, bench/replay, bench/micro, the replica map.
// How load is made is loadgen's business, what a result looks like bench/record's,
// what a cell of an experiment does in its child process bench/cell's.
//
// A run, in order:
//
//  1. openLab takes the machine's lab lock, checks disk and quiet, probes;
//  2. repetitions run interleaved, each in a directory and processes of its own;
//  3. each is verified: a lost, duplicated, reordered or corrupted record fails
//     the run, a generator that was the bottleneck makes it invalid;
//  4. the result directory is sealed: run.json, bench.txt, histograms, report.
//
// Every child is ended on every way out, Ctrl-C included; an experiment that was
// interrupted goes on from its ledger, and so does a comparison of two commits:
// compare.go, with bench/build, bench/paired and bench/gate.
//
// Read next: trial.go, suite.go, experiment.go, replication.go, outage.go, then bench/record.
package bench
