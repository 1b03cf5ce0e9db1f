package loadgen

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// Acks is how many brokers must have a record before it counts as acknowledged.
type Acks int8

// The zero value is AcksAll, idempotent.
const (
	AcksAll Acks = iota
	AcksLeader
	AcksNone
)

// ParseAcks reads all, -1, 1 or 0.
func ParseAcks(s string) (Acks, error) {
	switch s {
	case "all", "-1":
		return AcksAll, nil
	case "1":
		return AcksLeader, nil
	case "0":
		return AcksNone, nil
	}
	return 0, fmt.Errorf("%w: acks %q: want all, 1 or 0", ErrUsage, s)
}

// String is the flag's spelling.
func (a Acks) String() string { return [...]string{"all", "1", "0"}[a] }

// Limits of the generator, by name.
const (
	producersMax       = 1024
	closedLoopMax      = 10_000
	recordBytesMax     = 16 << 20
	saturatingBytesMax = 4 << 20 // bytes a saturating producer buffers unless told otherwise
	slotBytes          = 256     // of a slot beside its value, about
	bufferedMax        = 1 << 30 // bytes the slots of all producers may take
	slotsMax           = 1 << 16 // records one producer may have buffered, whatever their size

	retryEveryMin = 10 * time.Millisecond // franz-go's own
)

// Config is everything a run needs; the zero value of a field is its default. With neither Rate nor ClosedLoop the run saturates.
type Config struct {
	Brokers []string // host:port; required
	Topic   string   // default dyno-load
	// Create makes the topic if it is missing, with Partitions (default 8) and RF (default 1).
	Create bool
	// Delete removes the topic after the run, where Create made it.
	Delete     bool
	Partitions int
	RF         int

	Acks       Acks
	Rate       float64 // records/s over all producers; open loop
	ClosedLoop int     // clients, each with a connection and one record in flight

	Profile   Profile       // arrivals of the open loop
	Duration  time.Duration // timed window; default 30 s unless Records is given
	Records   int64         // end the timed window after this many records instead
	Warmup    time.Duration // before the timed window
	Producers int           // default 2; ignored by the closed loop
	Consumers int           // live consumers
	Seed      uint64        // default 1

	Workload    Workload
	Linger      time.Duration
	Compression string // none (default), gzip, snappy, lz4, zstd
	Inflight    int    // produce requests per connection; default 5; fixed at 5 where the producer is idempotent

	// Spread is how many bytes of records without a key go to one partition before the next; default StickyBytes. With 1 every
	// record goes to the next.
	Spread int
	// RetryEvery is how soon the client tries again what failed, and asks anew who leads; default franz-go's own, which are
	// 250 ms growing to 2.5 s, and 5 s. A run that measures how long a cluster is away wants it short.
	RetryEvery time.Duration

	TLS  TLSConfig
	SASL SASLConfig

	Verify bool

	// BufferedBytesMax bounds the records one producer holds, waiting or in flight; default 32 MiB in the open loop (a stall
	// must not stop the schedule) and 4 MiB when saturating (more only adds waiting time).
	BufferedBytesMax int
	// DeliveryTimeout bounds the life of a record in the client; default 60 s. An idempotent record in flight outlives it.
	DeliveryTimeout time.Duration
	// DrainTimeout bounds the wait for answers, and for live consumers, after the window; default 30 s.
	DrainTimeout time.Duration
	// ConnectTimeout bounds reaching the cluster and waiting for leaders; default 10 s.
	ConnectTimeout time.Duration
	// ProbeDuration is the length of the null-sink probe before the run; default 1 s, negative skips it.
	ProbeDuration time.Duration
	// Capacity, if positive, is the generator's capacity in records/s from an earlier probe of the same shape; skips the probe.
	Capacity float64

	// Acked, if set, is told of every acknowledged record and how long its answer took since it was handed to the client. It is
	// called as the answer comes, by one goroutine at a time for each producer, and must not block.
	Acked func(partition int32, service time.Duration)

	// Progress, if set, is called about once a second from the run's collector goroutine; it must not block.
	Progress func(Progress)
}

// Progress is one line of life.
type Progress struct {
	Phase   string        `json:"phase"` // probe, warmup, measure, drain, verify, read
	Elapsed time.Duration `json:"elapsed_ns"`
	Of      time.Duration `json:"of_ns"` // 0 when the end is not a time
	Sent    int64         `json:"sent"`
	Acked   int64         `json:"acked"`
	Rate    float64       `json:"acked_per_s"` // over the last interval
	P99     int64         `json:"response_p99_ns"`
}

func (c *Config) setDefaults() {
	c.Topic = cmp.Or(c.Topic, "dyno-load")
	c.Partitions = cmp.Or(c.Partitions, 8)
	c.RF = cmp.Or(c.RF, 1)
	if c.Records == 0 {
		c.Duration = cmp.Or(c.Duration, 30*time.Second)
	}
	c.Producers = cmp.Or(c.Producers, 2)
	if c.ClosedLoop > 0 {
		c.Producers = c.ClosedLoop
	}
	c.Seed = cmp.Or(c.Seed, 1)
	c.Compression = cmp.Or(c.Compression, "none")
	c.Inflight = cmp.Or(c.Inflight, 5)
	c.Spread = cmp.Or(c.Spread, StickyBytes)
	if c.BufferedBytesMax == 0 {
		c.BufferedBytesMax = 32 << 20
		if c.Rate == 0 {
			c.BufferedBytesMax = saturatingBytesMax
		}
	}
	c.DeliveryTimeout = cmp.Or(c.DeliveryTimeout, time.Minute)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	c.ProbeDuration = cmp.Or(c.ProbeDuration, time.Second)
	c.Workload.setDefaults()
	c.Profile.setDefaults()
}

// validate names the first setting that cannot work. It is called after setDefaults.
func (c *Config) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
	}
	switch {
	case len(c.Brokers) == 0:
		return bad("no brokers: give --brokers host:port,…")
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0):
		return bad("rate %v: want a positive number of records per second", c.Rate)
	case c.ClosedLoop < 0 || c.ClosedLoop > closedLoopMax:
		return bad("closed-loop %d: want 1 to %d clients", c.ClosedLoop, closedLoopMax)
	case c.Rate > 0 && c.ClosedLoop > 0:
		return bad("rate and closed-loop exclude each other")
	case c.ClosedLoop == 0 && (c.Producers < 1 || c.Producers > producersMax):
		return bad("producers %d: want 1 to %d", c.Producers, producersMax)
	case c.Consumers < 0 || c.Consumers > producersMax:
		return bad("consumers %d: want 0 to %d", c.Consumers, producersMax)
	case c.Partitions < 1 || c.RF < 1:
		return bad("partitions %d, rf %d: both want at least 1", c.Partitions, c.RF)
	case c.Delete && !c.Create:
		return bad("delete removes a topic that the run made itself: add create")
	case c.Records < 0:
		return bad("records %d: want a positive number", c.Records)
	case c.Records > 0 && c.Duration != 0:
		return bad("duration and records exclude each other")
	case c.Spread < 1:
		return bad("spread %d: want at least one byte", c.Spread)
	case c.RetryEvery != 0 && (c.RetryEvery < retryEveryMin || c.RetryEvery > time.Minute):
		return bad("retry every %v: want %v to 1m", c.RetryEvery, retryEveryMin)
	case c.Duration < 0 || c.Warmup < 0 || c.Linger < 0 || c.ConnectTimeout < 0:
		return bad("a duration is negative")
	case c.Duration > 0 && c.Duration < 10*time.Millisecond:
		return bad("duration %v is too short to measure: want at least 10ms", c.Duration)
	case c.Linger > time.Minute:
		return bad("linger %v: want at most 1m", c.Linger)
	case c.Inflight < 1 || c.Inflight > 1000:
		return bad("inflight %d: want 1 to 1000", c.Inflight)
	case c.Acks == AcksAll && c.Inflight != 5:
		return bad("inflight %d: an idempotent producer (acks all) always has 5 requests in flight", c.Inflight)
	}
	if _, err := codec(c.Compression); err != nil {
		return err
	}
	return c.validateParts()
}

// validateParts checks the settings that have a type of their own.
func (c *Config) validateParts() error {
	if err := c.Workload.validate(); err != nil {
		return err
	}
	if err := c.Profile.validate(); err != nil {
		return err
	}
	if c.BufferedBytesMax < c.Workload.Size.max() {
		return fmt.Errorf("%w: buffered bytes %d cannot hold one record of %d", ErrUsage, c.BufferedBytesMax, c.Workload.Size.max())
	}
	if err := c.TLS.validate(); err != nil {
		return err
	}
	if c.Profile.Arrivals == Step && c.Rate > 0 && c.Records > 0 {
		return fmt.Errorf("%w: arrivals step climb over a duration: give --duration instead of --records", ErrUsage)
	}
	if total := c.Producers * c.slots() * (c.Workload.Size.mean() + slotBytes); total > bufferedMax {
		return fmt.Errorf("%w: %d producers x %d records of %d bytes would buffer %d MiB, more than %d: ask for fewer producers or smaller records",
			ErrUsage, c.Producers, c.slots(), c.Workload.Size.mean(), total>>20, bufferedMax>>20)
	}
	return c.SASL.validate()
}

// slots is how many records one producer may hold: as many as the bytes allow, the size taken at its mean.
func (c *Config) slots() int {
	if c.ClosedLoop > 0 {
		return 1
	}
	return min(max(c.BufferedBytesMax/max(c.Workload.Size.mean(), 64), 16), slotsMax)
}

// mode names how the run is paced.
func (c *Config) mode() string {
	switch {
	case c.ClosedLoop > 0:
		return "closed"
	case c.Rate > 0:
		return "open"
	}
	return "saturating"
}

// effective is the configuration as results print it: every default filled in, nothing secret.
func (c *Config) effective() map[string]any {
	m := map[string]any{
		"brokers": c.Brokers, "topic": c.Topic, "acks": c.Acks.String(), "mode": c.mode(), "producers": c.Producers,
		"consumers": c.Consumers, "warmup_ns": c.Warmup, "seed": c.Seed, "size": c.Workload.Size.String(),
		"keys": c.Workload.Keys.String(), "compressibility": c.Workload.Compressibility, "compression": c.Compression,
		"linger_ns": c.Linger, "inflight": c.Inflight, "spread_bytes": c.Spread, "buffered_bytes_max": c.BufferedBytesMax, "slots": c.slots(),
		"tls": c.TLS.on(), "sasl": c.SASL.Mechanism, "verify": c.Verify,
	}
	if c.Records > 0 {
		m["records"] = c.Records
	} else {
		m["duration_ns"] = c.Duration
	}
	if c.Rate > 0 {
		m["rate"], m["profile"] = c.Rate, c.Profile
	}
	if c.RetryEvery > 0 {
		m["retry_every_ns"] = c.RetryEvery
	}
	return m
}
