package kafka

import "sync/atomic"

// reason says why a connection ended.
type reason uint8

const (
	closedByClient reason = iota
	closedIdle
	closedSlow      // a started frame did not become whole in time
	closedTooLarge  // a frame beyond its limit
	closedGarbage   // not the Kafka protocol, or a body that does not decode
	closedVersion   // an API key or version that is not served
	closedNoReader  // replies were not taken in time
	closedUnacked   // a Produce with acks=0 failed
	closedLimit     // too many connections
	closedNetwork   // read or write error
	closedDrain     // the server shut down
	closedHandshake // TLS
	reasonCount
)

var reasonNames = [reasonCount]string{
	"client", "idle", "slow_frame", "frame_too_large", "garbage", "unsupported_version",
	"replies_not_read", "acks0_error", "connection_limit", "network", "drain", "tls_handshake",
}

// counters is what the front counts; Snapshot reads it.
type counters struct {
	requests [apiKeyMax + 1]atomic.Int64
	errors   [codeMax - codeMin + 1]atomic.Int64
	closed   [reasonCount]atomic.Int64

	bytesIn, bytesOut                  atomic.Int64
	reads, writes                      atomic.Int64
	slabMoved                          atomic.Int64
	batches, timeouts                  atomic.Int64
	connections, accepted              atomic.Int64
	waitedRequests, waitedBrokerBytes  atomic.Int64
	waitedFetchBytes, waitedRecompress atomic.Int64
	waitedAcks0, waitedPartialBytes    atomic.Int64
	refusalsForgotten                  atomic.Int64
}

func (c *counters) failed(e code) {
	if e != codeNone {
		c.failedN(e, 1)
	}
}

func (c *counters) failedN(e code, n int64) {
	if e < codeMin || e > codeMax {
		e = codeUnknownServer
	}
	c.errors[e-codeMin].Add(n)
}

// Stats is what the front has counted since it was started; only Connections,
// BytesInFlight and FetchBytesInFlight are values of the moment.
type Stats struct {
	Requests map[string]int64 // by API
	Errors   map[int16]int64  // by Kafka error code, one each topic or partition answered
	Closed   map[string]int64 // connections, by reason

	BytesIn, BytesOut       int64
	Reads, Writes           int64 // system calls on sockets (not with TLS)
	BytesMoved              int64 // of frames that began at the end of a slab
	Batches                 int64 // record batches handed to the log
	ProduceTimeouts         int64 // partitions answered with REQUEST_TIMED_OUT
	Accepted, Connections   int64
	BytesInFlight           int64
	ConnectionLimitWaits    int64 // reading stopped: InflightMax or InflightBytesMax
	BrokerBytesLimitWaits   int64 // reading stopped: BrokerBytesMax
	Acks0BytesInFlight      int64 // of the moment, too
	Acks0BytesLimitWaits    int64 // reading stopped: Acks0BytesMax
	PartialBytesInFlight    int64 // of the moment, too
	PartialBytesLimitWaits  int64 // reading stopped: PartialBytesMax
	FetchBytesInFlight      int64 // of the moment, too
	FetchBytesLimitWaits    int64 // a Fetch waited: FetchBrokerBytesMax
	RecompressWaits         int64 // a Produce waited for a processor to recompress on
	RefusalsForgotten       int64 // a connection remembered refusedMax of them
	ConnectionsLimitRefused int64
}

// Snapshot returns what was counted. Any goroutine may call it; it does not
// block.
func (s *Server) Snapshot() Stats {
	c := &s.count
	st := Stats{
		Requests: map[string]int64{}, Errors: map[int16]int64{}, Closed: map[string]int64{},
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Reads: c.reads.Load(), Writes: c.writes.Load(), BytesMoved: c.slabMoved.Load(),
		Batches: c.batches.Load(), ProduceTimeouts: c.timeouts.Load(),
		Accepted: c.accepted.Load(), Connections: c.connections.Load(),
		BytesInFlight:           s.budget.used.Load(),
		ConnectionLimitWaits:    c.waitedRequests.Load(),
		BrokerBytesLimitWaits:   c.waitedBrokerBytes.Load(),
		Acks0BytesInFlight:      s.acks0.used.Load(),
		Acks0BytesLimitWaits:    c.waitedAcks0.Load(),
		PartialBytesInFlight:    s.partial.used.Load(),
		PartialBytesLimitWaits:  c.waitedPartialBytes.Load(),
		FetchBytesInFlight:      s.fetches.used.Load(),
		FetchBytesLimitWaits:    c.waitedFetchBytes.Load(),
		RecompressWaits:         c.waitedRecompress.Load(),
		RefusalsForgotten:       c.refusalsForgotten.Load(),
		ConnectionsLimitRefused: c.closed[closedLimit].Load(),
	}
	for key := range c.requests {
		if n := c.requests[key].Load(); n > 0 {
			st.Requests[apis[key].name] = n
		}
	}
	for i := range c.errors {
		if n := c.errors[i].Load(); n > 0 {
			st.Errors[int16(i)+int16(codeMin)] = n
		}
	}
	for i := range c.closed {
		if n := c.closed[i].Load(); n > 0 {
			st.Closed[reasonNames[i]] = n
		}
	}
	return st
}
