package variants

import (
	"sync"

	"dyno/wal"
)

// Log is what EachSync needs of the shared log; see wal.Log.
type Log interface {
	Submit(a *wal.Append) error
}

// eachWaiting bounds the appends that wait for their turn; a submitter waits for room.
const eachWaiting = 1024

// EachSync gives each entry an append and a sync of its own: the next is submitted
// when the one before is durable. An Append need not be atomic (wal.Append), so it may
// be cut anywhere; a hard state stays with the entry before it.
type EachSync struct {
	log  Log
	in   chan *wal.Append // capacity eachWaiting; senders: Submit; closed by Close
	done chan struct{}    // closed when the goroutine has ended
	once sync.Once
}

// NewEachSync starts its goroutine; Close ends it.
func NewEachSync(log Log) *EachSync {
	e := &EachSync{log: log, in: make(chan *wal.Append, eachWaiting), done: make(chan struct{})}
	go e.run()
	return e
}

// Submit implements Log. It may wait for room. Done is called on a goroutine of
// EachSync or of the log, in the order of submission. It never fails: an error of the
// log goes to Done. Not after Close.
func (e *EachSync) Submit(a *wal.Append) error {
	e.in <- a
	return nil
}

// Close returns when everything submitted is durable, or has failed. Idempotent.
func (e *EachSync) Close() error {
	e.once.Do(func() { close(e.in) })
	<-e.done
	return nil
}

func (e *EachSync) run() {
	defer close(e.done)
	for a := range e.in {
		err := e.parts(a)
		if a.Done != nil {
			a.Done(err)
		}
	}
}

// parts submits one entry after the other and waits for each; the first error ends it.
func (e *EachSync) parts(a *wal.Append) error {
	for rest := a.Records; len(rest) > 0; {
		n := entryEnd(rest)
		through := make(chan error, 1)
		part := &wal.Append{Records: rest[:n], Sync: a.Sync, Reserve: a.Reserve, Done: func(err error) { through <- err }}
		if err := e.log.Submit(part); err != nil {
			return err
		}
		if err := <-through; err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// entryEnd is how many records the first part has: up to the second entry.
func entryEnd(list []wal.Record) int {
	entries := 0
	for i := range list {
		if list[i].Kind == wal.KindEntry {
			if entries++; entries > 1 {
				return i
			}
		}
	}
	return len(list)
}
