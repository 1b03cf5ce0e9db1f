package natspeer

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/procfs"
)

// children are the live child processes of this one.
func children(t *testing.T) (pids []int) {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if stat, err := p.Stat(); err == nil && stat.PPID == os.Getpid() {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

func childOfOurs(t *testing.T) int {
	t.Helper()
	pids := children(t)
	if len(pids) != serverCount {
		t.Fatalf("%d child processes, want %d", len(pids), serverCount)
	}
	return pids[0]
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("kill %d: %v", pid, err)
	}
}

// A server process that cannot serve says why on its one line.
func TestServerSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"no request":  {"", "started by"},
		"bad setting": {`{"config":{"listen":"127.0.0.1:-1","jetstream":{"sync_interval":"sometimes","store_dir":"x"}}}`, "sync_interval"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, diagnostics bytes.Buffer
			in := io.NopCloser(strings.NewReader(c.in))
			err := ServeNode(context.Background(), in, &out, &diagnostics)
			var r nodeReady
			if err == nil {
				err = json.Unmarshal(out.Bytes(), &r)
			}
			if text := r.Error + errorText(err); !strings.Contains(text, c.want) {
				t.Errorf("said %q, want %q in it", text, c.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Servers listen on loopback, want a password, and sync as they are told.
func TestNodeConfig(t *testing.T) {
	for _, sync := range []Sync{SyncAlways, SyncDefault} {
		c := &cluster{password: "secret"}
		spec, err := c.spec(&Config{Dir: "d", Sync: sync}, 1, []int{11, 12, 13})
		if err != nil {
			t.Fatal(err)
		}
		text := string(spec.Config)
		for _, want := range []string{`"server_name":"n2"`, `"listen":"127.0.0.1:-1"`, `"listen":"127.0.0.1:12"`, `"store_dir":"d/n2"`,
			`"password":"secret"`, `"nats-route://dyno:secret@127.0.0.1:11"`, `"nats-route://dyno:secret@127.0.0.1:13"`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not in %s", want, text)
			}
		}
		if strings.Contains(text, `"sync_interval":"always"`) != (sync == SyncAlways) {
			t.Errorf("sync %s: %s", sync, text)
		}
		if spec.Orphan != "d/n2" {
			t.Errorf("a server of a dead parent would remove %q", spec.Orphan)
		}
	}
}

func TestFreePortsAreDifferent(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p == 0 {
			t.Errorf("port %d of %v", p, ports)
		}
		seen[p] = true
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var last tail
	for range 1000 {
		_, _ = last.Write([]byte("a line of words\n"))
	}
	_, _ = last.Write([]byte("the end"))
	if got := last.String(); len(got) != tailMax || !strings.HasSuffix(got, "the end") {
		t.Errorf("%d bytes that end with %q", len(got), got[len(got)-20:])
	}
}
