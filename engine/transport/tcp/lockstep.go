package tcp

import (
	"fmt"

	"dyno/engine/transport"
)

// Lockstep is one lane from one node to another without sockets, goroutines and
// time: what was sent waits until the owner delivers it, through the same encoder
// and decoder, and in frames, as if a writer had found all of it waiting. It is
// for replays that must do the same each time.
//
// It has no handshake, bounds nothing and loses nothing. One goroutine at a time.
type Lockstep struct {
	items []item
	enc   encoder
	slab  slab
	dec   decoder
}

// Delivered counts one delivery: Writes are the writev(2), Reads the read(2), and
// Bytes what they carried, of a connection that does both whole.
type Delivered struct{ Messages, Frames, Writes, Reads, Bytes int64 }

// NewLockstep makes a lane on which nothing waits.
func NewLockstep() *Lockstep {
	return &Lockstep{enc: encoder{inlineMax: inlineBytesMax, frameMax: frameBytesMaxMax}, slab: newSlab(frameBytesMaxMax)}
}

// Send queues a batch under the terms of transport.Transport.
func (l *Lockstep) Send(batch []transport.Envelope) {
	for i := range batch {
		l.items = append(l.items, item{batch[i], transport.Size(&batch[i].Message)})
	}
}

// Waiting is how many messages wait.
func (l *Lockstep) Waiting() int { return len(l.items) }

// Deliver encodes all that waits, decodes it and calls take for each frame, under
// the terms of transport.Handler.Receive; take must not Send on this lane. An error
// means that a frame did not survive, or that a message is too large for any.
func (l *Lockstep) Deliver(take func(batch []transport.Envelope)) (d Delivered, err error) {
	for i := 0; i < len(l.items); {
		i = l.enc.pack(l.items, i)
		if len(l.enc.refused) > 0 {
			return d, fmt.Errorf("lockstep: message %d: %w", l.enc.refused[0], ErrFrameTooLarge)
		}
		d.Frames += int64(len(l.enc.frames))
		d.Writes++
		for _, piece := range l.enc.seal() {
			if err := l.carry(piece, take, &d); err != nil {
				return d, err
			}
		}
		l.enc.reset()
	}
	clear(l.items)
	l.items = l.items[:0]
	return d, nil
}

// carry moves one piece into the reader's slab, as far as that has room each time.
func (l *Lockstep) carry(piece []byte, take func([]transport.Envelope), d *Delivered) error {
	d.Bytes += int64(len(piece))
	for len(piece) > 0 {
		n := copy(l.slab.space(), piece)
		l.slab.filled(n)
		piece = piece[n:]
		d.Reads++
		for {
			f, err := l.slab.frame()
			if err != nil {
				return err
			}
			if f == nil {
				break
			}
			if err := l.dec.decode(f); err != nil {
				return fmt.Errorf("frame of %d bytes: %w", len(f), err)
			}
			if l.dec.kept {
				l.slab.keep()
			}
			d.Messages += int64(len(l.dec.batch))
			take(l.dec.batch)
			l.dec.release()
		}
	}
	return nil
}
