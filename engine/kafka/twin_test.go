package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// twin is one of the two brokers that get the same requests.
type twin struct {
	*raw
	topic *fakeTopic // name and id there
}

// twins starts this front and kfake with a topic "t" of two partitions.
func twins(t *testing.T) [2]twin {
	_, n, addr := start(t)
	ours := twin{dial(t, addr), n.add("t", 2)}
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	theirs := twin{dial(t, k.ListenAddrs()[0]), &fakeTopic{name: "t"}}
	md := kmsg.NewPtrMetadataRequest()
	md.Version = 12
	resp := theirs.ask(md).(*kmsg.MetadataResponse)
	theirs.topic.id = ids.TopicID(resp.Topics[0].TopicID)
	return [2]twin{ours, theirs}
}

// TestLikeKfake sends the same requests to this front and to kfake and
// compares what a client acts on: codes, offsets, records. Where the two differ
// on purpose the test does not ask: kfake names magic 0 and 1 CORRUPT_MESSAGE
// (Kafka: INVALID_RECORD), does not look at topic names in Metadata (Kafka:
// INVALID_TOPIC_EXCEPTION), serves transactions and fetch sessions, and checks
// neither zstd before version 7 nor more than one batch.
func TestLikeKfake(t *testing.T) {
	both := twins(t)
	for _, q := range append(twinProduces(), twinReads()...) {
		a, b := both[0].ask(q.req(both[0])), both[1].ask(q.req(both[1]))
		if got, want := seenBy(a), seenBy(b); got != want {
			t.Errorf("%s:\n  here  %s\n  kfake %s", q.name, got, want)
		}
	}
}

// ask is one request of the comparison.
type ask struct {
	name string
	req  func(x twin) kmsg.Request
}

// noTopic is a topic neither twin has.
var noTopic = &fakeTopic{name: "gone", id: ids.TopicID{1, 2, 3}}

func twinProduces() (asks []ask) {
	add := func(name string, f func(x twin) kmsg.Request) { asks = append(asks, ask{name, f}) }
	for v := int16(3); v <= 13; v++ {
		add(fmt.Sprintf("produce v%d", v), func(x twin) kmsg.Request {
			return produceTo(v, x.topic, 0, -1, batch(3, 20, -1, -1, -1))
		})
		add(fmt.Sprintf("produce v%d unknown topic", v), func(x twin) kmsg.Request {
			return produceTo(v, noTopic, 0, -1, batch(1, 20, -1, -1, -1))
		})
		add(fmt.Sprintf("produce v%d unknown partition", v), func(x twin) kmsg.Request {
			return produceTo(v, x.topic, 9, 1, batch(1, 20, -1, -1, -1))
		})
		add(fmt.Sprintf("produce v%d acks 3", v), func(x twin) kmsg.Request {
			return produceTo(v, x.topic, 0, 3, batch(1, 20, -1, -1, -1))
		})
		add(fmt.Sprintf("produce v%d bad crc", v), func(x twin) kmsg.Request {
			b := batch(1, 20, -1, -1, -1)
			b[len(b)-1]++
			return produceTo(v, x.topic, 0, -1, b)
		})
		add(fmt.Sprintf("produce v%d control", v), func(x twin) kmsg.Request {
			b := batch(1, 20, -1, -1, -1)
			b[22] |= 0x20
			return produceTo(v, x.topic, 0, -1, recrc(b))
		})
	}
	for i, b := range [][3]int{{2, 0, 0}, {2, 0, 2}, {2, 0, 2}, {1, 0, 9}, {1, 0, 4}, {1, 1, 0}} { // records, epoch, sequence
		add(fmt.Sprintf("idempotent %d", i), func(x twin) kmsg.Request {
			return produceTo(9, x.topic, 1, -1, batch(b[0], 5, 4000, int16(b[1]), int32(b[2])))
		})
	}
	return asks
}

func twinReads() (asks []ask) {
	add := func(name string, f func(x twin) kmsg.Request) { asks = append(asks, ask{name, f}) }
	for v := int16(4); v <= 18; v++ {
		for _, offset := range []int64{0, 3, 33, 34, -1} {
			add(fmt.Sprintf("fetch v%d from %d", v, offset), func(x twin) kmsg.Request {
				r := fetchFrom(v, x.topic, 0, offset)
				r.SessionEpoch, r.Topics[0].Partitions[0].LastFetchedEpoch = -1, -1
				return r
			})
		}
		add(fmt.Sprintf("fetch v%d unknown", v), func(x twin) kmsg.Request { return fetchFrom(v, noTopic, 0, 0) })
	}
	for v := int16(1); v <= 10; v++ {
		for _, ts := range []int64{timeLatest, timeEarliest, 0, 1 << 60} {
			add(fmt.Sprintf("list offsets v%d at %d", v, ts), func(x twin) kmsg.Request {
				r := request[*kmsg.ListOffsetsRequest](x.topic)
				r.Version, r.Topics[0].Partitions[0].Timestamp = v, ts
				return r
			})
		}
	}
	for v := int16(0); v <= 13; v++ {
		for _, name := range []string{"t", "nobody"} {
			add(fmt.Sprintf("metadata v%d of %q", v, name), func(x twin) kmsg.Request {
				r := request[*kmsg.MetadataRequest](&fakeTopic{name: name})
				r.Version, r.AllowAutoTopicCreation = v, false
				return r
			})
		}
	}
	return asks
}

// seenBy is what a client sees in a reply, without what must differ between two
// clusters (ids, addresses, epochs).
func seenBy(r kmsg.Response) string {
	switch r := r.(type) {
	case *kmsg.ProduceResponse:
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return fmt.Sprint("code ", p.ErrorCode)
		}
		return fmt.Sprint("offset ", p.BaseOffset, " time ", p.LogAppendTime)
	case *kmsg.FetchResponse:
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return fmt.Sprint("code ", r.ErrorCode, p.ErrorCode)
		}
		var rest []byte
		if len(p.RecordBatches) > 16 {
			rest = p.RecordBatches[16:] // after the first leader epoch
		}
		return fmt.Sprint("high watermark ", p.HighWatermark, " bytes ", len(p.RecordBatches), " first ", string(rest[:min(40, len(rest))]))
	case *kmsg.ListOffsetsResponse:
		p := r.Topics[0].Partitions[0]
		return fmt.Sprint("code ", p.ErrorCode, " offset ", p.Offset)
	case *kmsg.MetadataResponse:
		t := r.Topics[0]
		return fmt.Sprint("code ", t.ErrorCode, " partitions ", len(t.Partitions), " name ", *t.Topic)
	}
	return fmt.Sprintf("%T", r)
}
