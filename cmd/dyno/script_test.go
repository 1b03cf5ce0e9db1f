package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

// TestMain lets this binary be dyno for the scripts and for exec.Command("dyno").
// The tests, once they have passed, and each such dyno that ends by itself must
// leave no goroutine behind.
func TestMain(m *testing.M) {
	testscript.Main(checkedTests{m}, map[string]func(){"dyno": func() { os.Exit(checked(run())) }})
}

// checkedTests does what goleak.VerifyTestMain does and does not end the process:
// testscript.Main cleans up behind it.
type checkedTests struct{ m *testing.M }

// Run implements testscript.TestingM. Tests that failed may leave anything.
func (c checkedTests) Run() int {
	if code := c.m.Run(); code != 0 {
		return code
	}
	return checked(0)
}

// exitLeak is the exit code where goroutines were left; no command has it.
const exitLeak = 99

// checked turns an exit code into exitLeak if goroutines are left.
func checked(code int) int {
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitLeak
	}
	return code
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

// TestScripts runs testdata/script. Beside testscript's own commands:
//
//	exits CODE dyno ARGS   run dyno; a code above 0 goes with one line on stderr
//	ready ADDR             wait until /readyz there says yes
//	term                   send SIGTERM to what runs in the background
//	damage FILE POS        change one byte of a file
//	produce ADDR N         write N numbered records
//	consume ADDR N         read N records and compare them
//
// K, R and A are the ports of a node (Kafka, Raft, admin) that were free when
// the script began, P that of a listener that stays open. TOMORROW is a date.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			port := freePorts(t)
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { taken.Close() })
			env.Setenv("K", strconv.Itoa(port))
			env.Setenv("R", strconv.Itoa(port+raftPortOffset))
			env.Setenv("A", strconv.Itoa(port+adminPortOffset))
			env.Setenv("TOMORROW", time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly))
			env.Setenv("P", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "ready": cmdReady, "term": cmdTerm, "damage": cmdDamage, "produce": cmdProduce, "consume": cmdConsume,
		},
	})
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if said := ts.ReadFile("stderr"); want > 0 && (!strings.HasPrefix(said, "dyno: ") || strings.Count(said, "\n") != 1) {
		ts.Fatalf("want one line that starts with \"dyno: \", got:\n%s", said)
	}
}

func cmdReady(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(awaitReady(context.Background(), args[0], 30*time.Second))
}

func cmdTerm(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

func cmdDamage(ts *testscript.TestScript, _ bool, args []string) {
	pos, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], pos)
	ts.Check(err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b[:], pos)
	ts.Check(err)
}

// awaitReady polls /readyz until it says yes.
func awaitReady(ctx context.Context, admin string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		_, err := get(ctx, client, "http://"+admin+"/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w", admin, limit, err)
		case <-tick.C:
		}
	}
}

func scriptClient(ts *testscript.TestScript, args []string) (*kgo.Client, int) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(args[0]), kgo.DefaultProduceTopic("script"), kgo.ConsumeTopics("script"),
		kgo.AllowAutoTopicCreation(), kgo.RecordDeliveryTimeout(20*time.Second))
	ts.Check(err)
	return cl, n
}

func cmdProduce(ts *testscript.TestScript, _ bool, args []string) {
	cl, n := scriptClient(ts, args)
	defer cl.Close()
	for i := range n {
		ts.Check(cl.ProduceSync(context.Background(), kgo.StringRecord(strconv.Itoa(i))).FirstErr())
	}
}

func cmdConsume(ts *testscript.TestScript, _ bool, args []string) {
	cl, n := scriptClient(ts, args)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := 0; i < n; {
		fetches := cl.PollFetches(ctx)
		ts.Check(fetches.Err())
		for _, r := range fetches.Records() {
			if string(r.Value) != strconv.Itoa(i) {
				ts.Fatalf("record %d is %q", i, r.Value)
			}
			i++
		}
	}
}

// portTries counts the places that freePorts has looked at: scripts run side by
// side, and none may be given what another was given.
var portTries atomic.Int32

// freePorts finds a Kafka port such that it and those that `up` puts above it
// are free. The search starts at a place of this process's own, so that two
// test runs rarely meet.
func freePorts(t *testing.T) int {
	const first, blocks, each = 20_000, 30, 100 // a block is 3*each ports
	for {
		try := int(portTries.Add(1))
		if try > blocks*each {
			t.Fatal("no free ports")
		}
		n := os.Getpid() + try
		port := first + n%blocks*3*each + n/blocks%each
		if free(port) && free(port+raftPortOffset) && free(port+adminPortOffset) {
			return port
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
