package engine

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// collector gives the node's counters to Prometheus. It reads snapshots when it
// is asked: nothing on the hot path knows of it.
type collector struct{ node *Node }

// Describe implements prometheus.Collector: none, so metrics need no registry
// of their own beside Collect.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.collectLog(ch)
	c.collectRaft(ch)
	c.collectFront(ch)
	c.collectNode(ch)
	c.collectPeers(ch)
	c.collectLag(ch)
	c.collectGossip(ch)
	c.collectArm(ch)
}

// metric is one sample; labels are pairs of name and value.
func metric(ch chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels ...string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

type number interface {
	~int | ~int64 | ~uint64 | ~float64
}

func count[T number](ch chan<- prometheus.Metric, name, help string, v T, labels ...string) {
	metric(ch, prometheus.CounterValue, name, help, float64(v), labels...)
}

func gauge[T number](ch chan<- prometheus.Metric, name, help string, v T, labels ...string) {
	metric(ch, prometheus.GaugeValue, name, help, float64(v), labels...)
}

func (c *collector) collectLog(ch chan<- prometheus.Metric) {
	s := c.node.log.Stats()
	count(ch, "dyno_wal_appends_total", "Submissions taken by the log.", s.Submissions)
	count(ch, "dyno_wal_records_total", "Records written to the log.", s.Records)
	count(ch, "dyno_wal_submitted_bytes_total", "Payload bytes submitted to the log.", s.PayloadBytes)
	count(ch, "dyno_wal_frame_bytes_total", "Bytes by which the log grew: payload and framing, no page twice.", s.FrameBytes)
	count(ch, "dyno_wal_written_bytes_total", "Bytes written to segments, framing and padding included.", s.WrittenBytes)
	count(ch, "dyno_wal_zero_bytes_total", "Bytes of zeros written to make segments.", s.ZeroBytes)
	count(ch, "dyno_wal_writes_total", "Frames that the log wrote.", s.Writes)
	count(ch, "dyno_wal_fdatasyncs_total", "fdatasync calls of the log.", s.Syncs)
	count(ch, "dyno_wal_fdatasync_seconds_total", "Time spent in fdatasync.", s.SyncTime.Seconds())
	gauge(ch, "dyno_wal_fdatasync_max_seconds", "Longest fdatasync since the start.", s.SyncMax.Seconds())
	count(ch, "dyno_wal_segments_made_total", "Segments created and zero-filled.", s.SegmentsMade)
	count(ch, "dyno_wal_segments_reused_total", "Segments recycled.", s.SegmentsReused)
	count(ch, "dyno_wal_rewritten_entries_total", "Entries copied to the head so that a segment could go.", s.Moved)
	count(ch, "dyno_wal_refused_total", "Submissions refused for want of disk space.", s.Refused)
	count(ch, "dyno_wal_queue_full_total", "Times a submitter had to wait for room in the queue.", s.QueueFull)
	gauge(ch, "dyno_wal_queue_high_bytes", "Most bytes that ever waited in the queue.", s.QueueBytesHigh)
	gauge(ch, "dyno_wal_bytes", "Bytes of segments that hold something.", s.SegmentBytes)
	gauge(ch, "dyno_wal_streams", "Streams in the log.", s.Streams)
	full := 0
	if c.node.log.Full() {
		full = 1
	}
	gauge(ch, "dyno_wal_full", "1 while no new segment can be made: produce is refused.", full)
}

func (c *collector) collectRaft(ch chan<- prometheus.Metric) {
	s := c.node.raft.Stats()
	count(ch, "dyno_raft_drains_total", "Times a worker emptied its mailbox.", s.Drains)
	count(ch, "dyno_raft_polls_total", "Times a worker looked because of the time: none as shipped.", s.Polls)
	count(ch, "dyno_raft_appends_total", "Appends the workers submitted to the log.", s.Appends)
	count(ch, "dyno_raft_records_total", "Records in those appends.", s.Records)
	count(ch, "dyno_raft_messages_total", "Messages sent to peers.", s.Messages)
	count(ch, "dyno_raft_proposals_total", "Proposals handed to Raft; one carries a batch of entries.", s.Proposals)
	count(ch, "dyno_raft_proposed_entries_total", "Entries in those proposals.", s.Proposed)
	count(ch, "dyno_raft_reads_total", "ReadIndex attempts.", s.Reads)
	count(ch, "dyno_raft_reads_refused_total", "ReadIndex calls refused because too many wait.", s.ReadsFull)
	count(ch, "dyno_raft_lease_reads_total", "Reads that a leader answered by its lease, without an attempt.", s.LeaseReads)
	count(ch, "dyno_raft_refused_total", "Proposals refused because a queue was full.", s.Refused+s.Overload)
	count(ch, "dyno_raft_dropped_total", "Proposals that Raft dropped.", s.Dropped)
	count(ch, "dyno_raft_snapshots_sent_total", "Snapshots sent to replicas that lack what is deleted here.", s.SentSnaps)
	count(ch, "dyno_raft_snapshots_total", "Snapshots installed here.", s.Snapshots)
	count(ch, "dyno_raft_no_room_total", "Appends of peers dropped because the disk is full; they come again.", s.NoRoom)
	count(ch, "dyno_raft_elected_total", "Leaderships won here.", s.Elected)
	count(ch, "dyno_raft_abandoned_total", "Leaderships given up because no majority of the replicas answered.", s.Abandoned)
	count(ch, "dyno_raft_lost_messages_total", "Messages of peers dropped because a mailbox was full.", s.Lost)
	count(ch, "dyno_raft_stray_messages_total", "Messages of peers dropped because their group or replica is not here.", s.Strays)
	behind := c.node.raft.CatchUp()
	count(ch, "dyno_raft_catch_up_bytes_total", "Bytes of snapshots and entries sent to replicas that lack more than what is in memory.", behind.Bytes)
	count(ch, "dyno_raft_catch_up_waits_total", "Times limits.catch_up_bytes_per_second stopped that.", behind.Waits)
	count(ch, "dyno_raft_catch_up_wait_seconds_total", "Time in which it did.", behind.Waited.Seconds())
	gauge(ch, "dyno_logs_lost", "Damaged logs that this node has left behind in its data directory.", c.node.identity.Life)
	h := c.node.raft.Health()
	gauge(ch, "dyno_raft_groups", "Raft groups on this node by role.", h.Leaders, "role", "leader")
	gauge(ch, "dyno_raft_groups", "Raft groups on this node by role.", h.Followers, "role", "follower")
	gauge(ch, "dyno_raft_groups", "Raft groups on this node by role.", h.Candidates, "role", "candidate")
	gauge(ch, "dyno_raft_groups", "Raft groups on this node by role.", h.Damaged, "role", "damaged")
}

func (c *collector) collectFront(ch chan<- prometheus.Metric) {
	s := c.node.front.Snapshot()
	for api, n := range s.Requests {
		count(ch, "dyno_kafka_requests_total", "Requests by API.", n, "api", api)
	}
	for code, n := range s.Errors {
		count(ch, "dyno_kafka_errors_total", "Error codes answered.", n, "code", strconv.Itoa(int(code)))
	}
	for why, n := range s.Closed {
		count(ch, "dyno_kafka_connections_closed_total", "Connections closed by reason.", n, "reason", why)
	}
	count(ch, "dyno_kafka_received_bytes_total", "Bytes read from clients.", s.BytesIn)
	count(ch, "dyno_kafka_sent_bytes_total", "Bytes written to clients.", s.BytesOut)
	count(ch, "dyno_kafka_socket_reads_total", "Reads of client sockets.", s.Reads)
	count(ch, "dyno_kafka_socket_writes_total", "Writes of client sockets.", s.Writes)
	count(ch, "dyno_kafka_moved_bytes_total", "Bytes of frames copied because they began at a slab's end.", s.BytesMoved)
	count(ch, "dyno_kafka_batches_total", "Record batches handed to the log.", s.Batches)
	count(ch, "dyno_kafka_produce_timeouts_total", "Partitions answered with REQUEST_TIMED_OUT.", s.ProduceTimeouts)
	count(ch, "dyno_kafka_accepted_total", "Connections accepted.", s.Accepted)
	count(ch, "dyno_kafka_limit_waits_total", "Times reading stopped at a limit.", s.ConnectionLimitWaits, "limit", "connection")
	count(ch, "dyno_kafka_limit_waits_total", "Times reading stopped at a limit.", s.BrokerBytesLimitWaits, "limit", "broker")
	count(ch, "dyno_kafka_limit_waits_total", "Times reading stopped at a limit.", s.Acks0BytesLimitWaits, "limit", "acks0")
	count(ch, "dyno_kafka_limit_waits_total", "Times reading stopped at a limit.", s.PartialBytesLimitWaits, "limit", "partial_bytes")
	gauge(ch, "dyno_kafka_partial_inflight_bytes", "Bytes of big requests that are not whole yet.", s.PartialBytesInFlight)
	gauge(ch, "dyno_kafka_acks0_inflight_bytes", "Bytes of Produce requests with acks=0 that the log has not answered.", s.Acks0BytesInFlight)
	gauge(ch, "dyno_kafka_fetch_inflight_bytes", "Bytes of fetch replies being made or sent.", s.FetchBytesInFlight)
	count(ch, "dyno_kafka_limit_waits_total", "Times reading stopped at a limit.", s.FetchBytesLimitWaits, "limit", "fetch")
	count(ch, "dyno_kafka_recompress_waits_total", "Batches that waited for their turn to be recompressed.", s.RecompressWaits)
	count(ch, "dyno_kafka_refusals_forgotten_total", "Refused batches that a connection forgot because it remembers no more: later ones of their producers may go before them.", s.RefusalsForgotten)
	gauge(ch, "dyno_kafka_connections", "Connections open.", s.Connections)
	gauge(ch, "dyno_kafka_inflight_bytes", "Bytes of requests without an answer.", s.BytesInFlight)
}

func (c *collector) collectNode(ch chan<- prometheus.Metric) {
	gauge(ch, "dyno_partitions", "Partition replicas hosted here.", len(c.node.hosts.list()))
	count(ch, "dyno_partition_duplicates_refused_total", "Duplicates refused because too many of their partition wait for their originals.", c.node.hosts.parkedFull.Load())
	count(ch, "dyno_moved_entries_total", "Entries moved from the log to partition files.", c.node.mover.entries.Load())
	count(ch, "dyno_moved_bytes_total", "Bytes moved from the log to partition files.", c.node.mover.bytes.Load())
	count(ch, "dyno_moved_segments_total", "Log segments emptied and released.", c.node.mover.segments.Load())
	count(ch, "dyno_mover_failures_total", "Moves that failed and will be tried again.", c.node.mover.failures.Load())
	count(ch, "dyno_retention_commands_total", "Commands that retention had replicated.", c.node.retention.commands.Load())
	count(ch, "dyno_retention_freed_bytes_total", "Bytes of batches deleted below the log start.", c.node.retention.freed.Load())
	count(ch, "dyno_clock_jumps_total", "Times the wall clock jumped by a second or more against the monotonic one.", c.node.clock.jumps.Load())
	gauge(ch, "dyno_clock_ahead_seconds", "How far the wall clock is ahead of the middle one of all nodes.", c.node.raft.Clock().Off.Seconds())
	count(ch, "dyno_disk_handovers_total", "Leaderships handed over because the disk is full.", c.node.isr.disk.handovers.Load())
	cache := c.node.files.Stats()
	count(ch, "dyno_store_opens_total", "Partition files opened.", cache.Opens)
	count(ch, "dyno_store_over_max_total", "Times more files were open than the limit allows.", cache.OverMax)
	gauge(ch, "dyno_store_open_files", "Partition files open now.", cache.Open)
	count(ch, "dyno_events_dropped_total", "Events lost because the listener was slow.", c.node.notices.Dropped())
}
