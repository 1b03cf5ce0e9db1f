package gossip

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"

	"dyno/engine/ids"
)

// FuzzMeta: what a member says of itself is refused, or is what would be said again;
// nothing of it can mark up a terminal.
func FuzzMeta(f *testing.F) {
	full := Info{
		Cluster: "bed", Node: 3, Incarnation: 0x18c2f, Directory: "00ff", Peer: "host:9192", Kafka: "[::1]:9092", Admin: "a:1", Rack: "r",
		Load: Load{1, 2, 3, 1 << 62},
	}
	meta := full.appendMeta(nil)
	f.Add(full.name(), meta)
	f.Add(full.name(), append(meta, "of a later version"...))
	f.Add(full.name(), meta[:len(meta)-1])
	f.Add("1@h:1#1", []byte{1, 1, 'c', 0, 0, 0, 1, 0x1b, 0, 0, 0, 0})
	f.Add("1@h:1#1", append([]byte{1}, bytes.Repeat([]byte{0xff}, 12)...))
	f.Add("01@h:1#01", meta)
	f.Fuzz(func(t *testing.T, name string, meta []byte) {
		i, err := decode(name, meta)
		if err != nil {
			return
		}
		if i.name() != name || i.Node <= 0 || i.Incarnation == 0 || i.Cluster == "" {
			t.Fatalf("%q %x: %+v", name, meta, i)
		}
		for _, s := range []string{i.Cluster, i.Directory, i.Kafka, i.Peer, i.Admin, i.Rack} {
			if strings.ContainsAny(s, "\x00\x1b\n\r\t\x7f") {
				t.Fatalf("%q holds a control character", s)
			}
		}
		again, err := decode(i.name(), i.appendMeta(nil))
		if i.Version = version; err != nil || again != i {
			t.Fatalf("%+v became %+v, %v", i, again, err)
		}
	})
}

// FuzzSelf: the state of the members as memberlist gives it is read, or refused.
func FuzzSelf(f *testing.F) {
	var b []byte
	enc := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{})
	for _, v := range []any{pushHeader{Nodes: 1}, pushNode{Name: "1@h:1#1", State: memberlist.StateDead}} {
		if err := enc.Encode(v); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(append([]byte{pushPull}, b...))
	f.Add([]byte{pushPull})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		nodes, err := readNodes(bytes.NewReader(b))
		if err == nil {
			fold(map[ids.NodeID]Member{}, nodes, time.Now())
		}
	})
}

// FuzzConn: whatever comes over a connection, the node lives on, and a connection
// that says no proper hello brings nothing to memberlist.
func FuzzConn(f *testing.F) {
	f.Add([]byte("DYG1p\x03bed\x00\x01\x04"))
	f.Add([]byte("DYG1s\x03bed\x06\x83"))
	f.Add([]byte("DYG1p\x05other\x00\x01\x04"))
	f.Add([]byte("DYG1p\x03bed\x00\x09\x07\x02\x00\x01\x00\x01\x00\x04\x00\x00"))
	f.Add([]byte("DYG1p\x03bed\x00\x06\x0c\x00\x00\x00\x00\x00"))
	f.Add([]byte("PRI * HTTP/2.0"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	g, err := Start(Config{
		Self:     Info{Cluster: "bed", Node: 1, Incarnation: 1, Peer: "h:1"},
		Listener: l, Seeds: func() []Seed { return nil }, Log: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, string) (net.Conn, error) { return nil, errCut },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = g.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		before := g.Stats()
		var wg sync.WaitGroup
		wg.Go(func() {
			if g.wire.own(there) {
				g.wire.serve(there)
			}
		})
		wg.Go(func() { _, _ = io.Copy(io.Discard, here) })
		_ = here.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = here.Write(b)
		_ = here.Close()
		wg.Wait()
		if bytes.HasPrefix(b, []byte("DYG1p\x03bed")) || bytes.HasPrefix(b, []byte("DYG1s\x03bed")) {
			return
		}
		if after := g.Stats(); after.PacketsIn != before.PacketsIn || after.StreamsIn != before.StreamsIn {
			t.Fatalf("%q was let in", b)
		}
	})
}
