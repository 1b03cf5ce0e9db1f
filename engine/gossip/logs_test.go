package gossip

import (
	"log/slog"
	"strings"
	"testing"

	"dyno/engine/ids"
)

// TestLogs: memberlist's lines come at levels of ours, once a minute for each kind,
// and not after the end.
func TestLogs(t *testing.T) {
	var said lines
	l := newLogs(slog.New(slog.NewTextHandler(&said, nil)))
	to := l.logger()
	to.Printf("[DEBUG] memberlist: Stream connection from=%s", "127.0.0.1:1")
	to.Printf("[INFO] memberlist: Suspect %s has failed, no acks received", "3@h:1#1")
	for range 100 {
		to.Printf("[WARN] memberlist: Got ping for unexpected node '%s' from=%s", "3@h:1#1", "127.0.0.1:1")
		to.Printf("[ERR] memberlist: Push/Pull with %s failed: %s", "3@h:1#2", "EOF")
	}
	want := []string{
		`level=INFO msg="memberlist: Got ping for unexpected node '3@h:1#1' from=127.0.0.1:1"`,
		`level=WARN msg="memberlist: Push/Pull with 3@h:1#2 failed: EOF"`,
	}
	got := strings.Split(strings.TrimSpace(said.text.String()), "\n")
	if len(got) != len(want) || !strings.HasSuffix(got[0], want[0]) || !strings.HasSuffix(got[1], want[1]) {
		t.Errorf("logged\n%s", said.text.String())
	}
	l.close()
	to.Print("[ERR] memberlist: Failed to send gossip")
	if said.contain("Failed to send gossip") {
		t.Error("logged after the end")
	}
}

// TestQuiet: nodes that live and find each other log nothing at all.
func TestQuiet(t *testing.T) {
	var said lines
	n := start(t, "bed", 1, nil, said.log)
	for id := ids.NodeID(2); id < 4; id++ {
		start(t, "bed", id, []Seed{{1, n.addr}}, said.log)
	}
	until(t, "a dozen probes are answered", func() bool { return n.Stats().PacketsIn > 24 })
	if said.text.Len() > 0 {
		t.Errorf("logged\n%s", said.text.String())
	}
}

func TestKindOf(t *testing.T) {
	for packet, want := range map[string]byte{
		"": 255, "\x00x": pingMsg, "\x07\x02\x00\x01\x00\x01\x00\x04": pingMsg, "\x0c\x01\x02\x03\x04\x01": indirectPingMsg,
		"\x0c\x01\x02\x03\x04\x07\x01\x00\x01\x00": pingMsg, "\x07\xff": 255, "\x07": compoundMsg, "\x0c": crcMsg,
	} {
		if got := kindOf([]byte(packet)); got != want {
			t.Errorf("%x: %d, want %d", packet, got, want)
		}
	}
}
