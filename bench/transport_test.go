package bench

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"
)

// One arm, from the command to the printed result: its transport and its
// certificates reach the cluster.
func TestTransportOnFakes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a window of 2.5 s")
	}
	const arm = "closed/grpc-tls"
	experiments["one"] = known{"to test with", func(cfg ExperimentConfig) Experiment {
		e := transportExperiment(cfg)
		e.Cells = slices.DeleteFunc(e.Cells, func(c Cell) bool { return c.Arm != arm })
		e.Targets = nil
		return e
	}}
	t.Cleanup(func() { delete(experiments, "one") })
	opt, suite, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "one", opt, ExperimentConfig{Quick: true, Dyno: suite.Dyno})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	for _, value := range []string{"throughput", "response_p99", "broker_cpu", "fsyncs", "lost"} {
		if vs := run.Arm(arm).Values(value); len(vs) != 1 {
			t.Errorf("%d values of %s", len(vs), value)
		}
	}
	if p := run.Arm(arm).Params; p["transport"] != "grpc" || p["peer-tls"] != "true" {
		t.Errorf("parameters %v", p)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

func TestTransportComparesLikeWithLike(t *testing.T) {
	e := transportExperiment(ExperimentConfig{Seed: 7})
	if len(e.Cells) != 10 || len(e.Targets) != 6 {
		t.Errorf("%d cells, %d targets", len(e.Cells), len(e.Targets))
	}
	for _, g := range e.Targets {
		arm, against := e.Cells[armAt(t, e, g.Arm)], e.Cells[armAt(t, e, g.Against)]
		if arm.Params["peer-tls"] != against.Params["peer-tls"] || arm.Params["transport"] == against.Params["transport"] || g.AtLeast != 1 {
			t.Errorf("%s: %v against %v", g.Name, arm.Params, against.Params)
		}
		// What is better lower stands the other way round.
		if tcp := arm.Params["transport"] == "tcp"; tcp != (g.Measure == "throughput") {
			t.Errorf("%s: %s against %s", g.Name, g.Arm, g.Against)
		}
	}
	comparableArms(t, e, clusterReps)
}

// Both ends of a connection between nodes show the one certificate and want it
// signed by the one authority.
func TestCertificatesOfABed(t *testing.T) {
	args, err := transportArgs(t.TempDir(), "tcp", false)
	if err != nil || strings.Join(args, " ") != "--transport tcp" {
		t.Errorf("a plain cluster is started with %v: %v", args, err)
	}
	files, err := writeCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(files.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("no authority")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("usage %d: %v", usage, err)
		}
	}
	if info, err := os.Stat(files.key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}
