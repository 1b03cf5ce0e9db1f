package kafka

import "time"

// What the replies to Fetch hold is bounded for the whole broker by
// Config.FetchBrokerBytesMax. A Fetch takes the most it may be answered with
// before it reads, keeps what it has read, and gives that back when its reply
// was written. Whoever waits for room holds none: a reply before it is flushed,
// and a long poll lets go of what it has before it reads anew.

// most is what f may be answered with, as far as its limits tell; a first batch
// beyond them is counted once it is read.
func (f *fetch) most() int64 {
	n := 0
	for i := range f.parts {
		if n += max(f.parts[i].max, 0); n >= f.maxBytes {
			return int64(f.maxBytes)
		}
	}
	return int64(n)
}

// readFetch reads all partitions of f within the broker's budget, for which it
// waits until end at most. Where there is no room by then, or the connection
// ends first, f has no batches, as if nothing had come yet: the client asks
// again.
func (c *conn) readFetch(f *fetch, end time.Duration) (bytes int, failed bool) {
	c.dropFetched()
	n := f.most()
	f.starved = !c.takeFetch(n, end)
	if f.starved {
		n = 0
	}
	bytes, failed = f.read()
	c.wr.fetched = int64(bytes)
	c.srv.fetches.release(n - int64(bytes))
	return bytes, failed
}

// dropFetched gives back what the last Fetch holds; its batches must have been
// written or be dropped.
func (c *conn) dropFetched() {
	if n := c.wr.fetched; n != 0 {
		c.wr.fetched = 0
		c.srv.fetches.release(n)
	}
}

func (c *conn) takeFetch(n int64, end time.Duration) bool {
	b := &c.srv.fetches
	if b.try(n) {
		return true
	}
	c.srv.count.waitedFetchBytes.Add(1)
	if c.wr.room == nil {
		c.wr.room = make(chan struct{}, 1)
	}
	b.wait(c.wr.room)
	defer b.leave(c.wr.room)
	for !b.try(n) {
		left := end - c.srv.now()
		if left <= 0 {
			return false
		}
		select {
		case <-c.wr.room:
		case <-c.after(left):
		case <-c.eof:
			return false
		case <-c.dead:
			return false
		}
	}
	return true
}
