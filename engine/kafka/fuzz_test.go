package kafka

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fuzzConn is a connection without a socket: requests go in, nobody answers.
func fuzzConn(n *fakeNode) *conn {
	s := &Server{cfg: Config{Backend: n, InflightMax: 4}, self: 1}
	s.cfg.setDefaults()
	s.budget.max, s.acks0.max = s.cfg.BrokerBytesMax, s.cfg.Acks0BytesMax
	return &conn{srv: s, ring: newRing(4, 1<<30), wake: make(chan struct{}, 1), dead: make(chan struct{}), eof: make(chan struct{})}
}

// FuzzRequest takes any bytes as one frame: it is answered or refused, without
// a panic, and for memory in proportion to its size.
func FuzzRequest(f *testing.F) {
	n := newFakeNode(f)
	topic := n.add("t", 1)
	for _, req := range requests(topic) {
		a := apis[req.Key()]
		for _, v := range []int16{a.min, a.flexible, a.max} {
			req.SetVersion(max(v, a.min))
			f.Add(frame(req, 1)[4:])
		}
	}
	for _, v := range []int16{11, 14, 15, 18} {
		for _, replica := range []int32{-1, 3} {
			req := ownedBy(fetchFrom(v, topic, 0, 1), replica)
			req.Rack = "r"
			f.Add(frame(req, 1)[4:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 || len(b) > 1<<20 {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:]))
		if !served(key, version) {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := fuzzConn(n)
		if c.request(bytes.Clone(b)) {
			e, _, _ := c.ring.first()
			answer(t, c, e)
		}
		runtime.ReadMemStats(&after)
		if used := int64(after.TotalAlloc - before.TotalAlloc); used > 1<<20+2000*int64(len(b)) {
			t.Errorf("%d bytes were allocated for a frame of %d", used, len(b))
		}
	})
}

// answer runs what a request became and checks that the reply is one that
// kmsg can read.
func answer(t *testing.T, c *conn, e entry) {
	var h header
	switch {
	case e.prod != nil:
		h = e.prod.header
		e.prod.deadline = 0
		e.prod.outcome()
		if e.prod.acks == 0 {
			return
		}
		e.prod.encode(&c.wr.out)
	default:
		h = e.call.header
		if e.call.fetch != nil {
			e.call.fetch.maxWait = 0
		}
		c.ctx = t.Context()
		c.run(e.call)
	}
	c.wr.close()
	reply := bytes.Join(c.wr.bufs, nil)
	if int(binary.BigEndian.Uint32(reply)) != len(reply)-4 {
		t.Fatalf("a frame of %d bytes says it has %d", len(reply)-4, binary.BigEndian.Uint32(reply))
	}
	req := kmsg.RequestForKey(h.key)
	req.SetVersion(h.version)
	if h.key == keyApiVersions && h.version > apis[h.key].max {
		req.SetVersion(0)
	}
	parse(t, req, reply[8:])
}

// FuzzProduceDecode compares the hand-written decoder with kmsg's: they accept
// the same bodies and see the same in them.
func FuzzProduceDecode(f *testing.F) {
	n := newFakeNode(f)
	topic := n.add("t", 1)
	for v := int16(3); v <= 13; v++ {
		req := produceTo(v, topic, 7, 1, []byte("records"))
		f.Add(v, req.AppendTo(nil))
		req.Topics = append(req.Topics, req.Topics[0])
		req.Topics[1].Partitions = append(req.Topics[1].Partitions, req.Topics[1].Partitions[0])
		req.TransactionID = str("tx")
		f.Add(v, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 3 || version > 13 {
			return
		}
		h := header{version: version, flexible: version >= 9}
		in, ok := walkProduce(h, body, nil)
		if !ok && hugeTags(body) {
			return // kmsg would loop for minutes
		}
		req := kmsg.NewPtrProduceRequest()
		req.Version = version
		err := req.ReadFrom(body)
		if again := req.AppendTo(nil); err == nil && !bytes.Equal(again, body) {
			return // padded varints, repeated tags, bytes left over: kmsg takes them, too
		}
		if ok != (err == nil) {
			t.Fatalf("accepted: %v, kmsg: %v", ok, err)
		}
		if ok {
			same(t, h, body, in, req)
		}
	})
}

// hugeTags says that body may announce more tagged fields than it has bytes.
func hugeTags(body []byte) bool {
	for i := range body {
		if v, n := binary.Uvarint(body[i:min(len(body), i+5)]); n > 2 && v > 1<<16 {
			return true
		}
	}
	return false
}

func same(t *testing.T, h header, body []byte, in produceBody, req *kmsg.ProduceRequest) {
	t.Helper()
	parts := make([]produced, in.parts)
	walkProduce(h, body, parts)
	if in.acks != req.Acks || in.timeout != req.TimeoutMillis || in.txn != (req.TransactionID != nil) {
		t.Fatalf("%+v, kmsg %+v", in, req)
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		for j := range rt.Partitions {
			rp, p := &rt.Partitions[j], &parts[0]
			parts = parts[1:]
			if string(p.topic) != rt.Topic || p.id != rt.TopicID || int32(p.index) != rp.Partition || !bytes.Equal(p.Data, rp.Records) {
				t.Fatalf("topic %q partition %d: %q %d", rt.Topic, rp.Partition, p.topic, p.index)
			}
			if (p.first > 0) != (j == 0) || p.first > 0 && int(p.first) != len(rt.Partitions) {
				t.Fatalf("partition %d of %d: first %d", j, len(rt.Partitions), p.first)
			}
		}
	}
	if len(parts) != 0 {
		t.Fatalf("%d partitions too many", len(parts))
	}
}

// TestWriteSeeds writes the seed corpus; DYNO_SEEDS=1 asks for it.
func TestWriteSeeds(t *testing.T) {
	if os.Getenv("DYNO_SEEDS") == "" {
		t.Skip("DYNO_SEEDS is not set")
	}
	n := newFakeNode(t)
	topic := n.add("t", 1)
	write := func(target string, i int, text string) {
		dir := filepath.Join("testdata", "fuzz", target)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "seed-"+strconv.Itoa(i)), []byte("go test fuzz v1\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, req := range requests(topic) {
		req.SetVersion(apis[req.Key()].max)
		write("FuzzRequest", i, "[]byte("+strconv.Quote(string(frame(req, 1)[4:]))+")\n")
	}
	for i, v := range []int16{3, 8, 9, 13} {
		body := produceTo(v, topic, 7, 1, []byte("records")).AppendTo(nil)
		write("FuzzProduceDecode", i, "int16("+strconv.Itoa(int(v))+")\n[]byte("+strconv.Quote(string(body))+")\n")
	}
}
