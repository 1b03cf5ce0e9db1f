package cell

import "sync"

// drainer is the one caller of Batched mode. It owns one goroutine: close ends
// and joins it. While the log makes one batch durable the next one gathers, as
// in a Raft loop; there is no timer and no limit but the number of appenders.
type drainer struct {
	log    Log
	ended  chan struct{} // closed by the goroutine
	mu     sync.Mutex
	wake   sync.Cond     // on mu; there is something in waiting, or closed
	waits  []pendingItem // guarded by mu
	closed bool          // guarded by mu
	done   sync.Pool     // of chan error, capacity 1, reused by one appender at a time
}

type pendingItem struct {
	record []byte
	done   chan error // capacity 1; the drainer sends, the appender receives
}

func newDrainer(log Log, appenders int) *drainer {
	d := &drainer{log: log, ended: make(chan struct{}), waits: make([]pendingItem, 0, appenders)}
	d.wake.L = &d.mu
	d.done.New = func() any { return make(chan error, 1) }
	go d.loop(appenders)
	return d
}

// append hands over one record and blocks until its batch is durable.
func (d *drainer) append(_ int, records [][]byte) error {
	done := d.done.Get().(chan error)
	d.mu.Lock()
	d.waits = append(d.waits, pendingItem{records[0], done})
	d.mu.Unlock()
	d.wake.Signal()
	err := <-done
	d.done.Put(done)
	return err
}

func (d *drainer) loop(appenders int) {
	defer close(d.ended)
	batch := make([]pendingItem, 0, appenders)
	records := make([][]byte, 0, appenders)
	for {
		d.mu.Lock()
		for len(d.waits) == 0 && !d.closed {
			d.wake.Wait()
		}
		batch, d.waits = d.waits, batch[:0]
		d.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		records = records[:0]
		for _, item := range batch {
			records = append(records, item.record)
		}
		err := d.log.Append(0, records)
		for _, item := range batch {
			item.done <- err
		}
	}
}

// close waits for the last batch. Appenders must have returned.
func (d *drainer) close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.wake.Signal()
	<-d.ended
	return nil
}
