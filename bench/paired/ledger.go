package paired

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dyno/bench/gate"
)

// Schema is the version of a ledger: one line of JSON for its Header, then one for
// each Line.
const Schema = "dyno.paired/1"

// Header says which comparison a ledger belongs to.
type Header struct {
	Schema      string          `json:"schema"`
	Lane        string          `json:"lane"`
	Base        string          `json:"base"`      // commits
	Head        string          `json:"head"`      //
	Lab         string          `json:"lab"`       // hash of the program that measures
	Toolchain   string          `json:"toolchain"` // that built both sides
	Config      json.RawMessage `json:"config"`    // plan, limits and load, as the caller writes them
	Fingerprint string          `json:"fingerprint"`
	Seed        uint64          `json:"seed"` // of every coin
	Began       time.Time       `json:"began"`
}

// key is the part of the header by which the same comparison finds its ledger.
func (h Header) key() string {
	h.Schema, h.Fingerprint, h.Seed, h.Began = Schema, "", 0, time.Time{}
	return fmt.Sprintf("%x", sha256.Sum256(encode(h)))[:12]
}

// Line is one line of a ledger: exactly one field is set.
type Line struct {
	Load   map[string]float64 `json:"load,omitempty"` // what all runs offer, as the probe found it
	Linked *Linked            `json:"linked,omitempty"`
	Run    *Run               `json:"run,omitempty"`
	Closed *Closed            `json:"closed,omitempty"`
	Note   string             `json:"note,omitempty"`
}

// Linked begins a try at a block: its programs were made.
type Linked struct {
	Slot
	Try      int             `json:"try"` // from 1
	Layouts  map[Side]uint32 `json:"layouts"`
	Programs map[Side]string `json:"programs"` // hashes
}

// The states of a run, those of bench/record.
const (
	OK      = "ok"
	Failed  = "failed"
	Invalid = "invalid"
)

// Run is one finished run.
type Run struct {
	Slot
	Try     int                `json:"try"`
	Place   int                `json:"place"` // in its block, 1 to 4
	Side    Side               `json:"side"`
	Program string             `json:"program"` // hash of what really ran
	Dir     string             `json:"dir"`     // name of the directory it had to itself
	Began   time.Time          `json:"began"`
	Seconds float64            `json:"seconds"`
	Status  string             `json:"status"`
	Problem string             `json:"problem,omitempty"` // why not OK
	Values  map[string]float64 `json:"values"`
}

// Closed ends a try whose four runs are all there. With a reason in Redo it does
// not count and the block is run again: the machine was disturbed, or a run said
// nothing. With one in Void neither of head's runs said anything, and both of base's
// did, on a quiet machine: the first such block is run again, the second ends the
// comparison.
type Closed struct {
	Slot
	Try     int        `json:"try"`
	Order   gate.Order `json:"order"`
	Signals Signals    `json:"signals"`
	Redo    []string   `json:"redo,omitempty"`
	Void    string     `json:"void,omitempty"`
	At      time.Time  `json:"at"`
}

// Ledger is the file of one comparison. One goroutine owns it, under the lab lock.
type Ledger struct {
	Header Header
	Lines  []Line
	// Resumed is how many blocks an earlier invocation has left.
	Resumed int

	path string
	file *os.File
}

// OpenLedger goes on with the ledger of the same comparison in directory root, or
// begins one. want carries everything but the seed, which is drawn where it is 0.
// A ledger of another machine, or with another seed than the one asked for, is
// refused; force goes on with it. Errors: ErrOther, ErrHarness where a ledger
// cannot be read.
func OpenLedger(root string, want Header, force bool) (*Ledger, error) {
	l := &Ledger{Header: want, path: filepath.Join(root, ".paired-"+want.key()+".jsonl")}
	l.Header.Schema = Schema
	old, err := os.ReadFile(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(root, 0o755)
	case err == nil && len(old) > 0:
		err = l.resume(old, want, force)
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	for l.Header.Seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		l.Header.Seed = binary.LittleEndian.Uint64(b[:]) >> 1
	}
	if err := l.rewrite(); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.Close())
	}
	return l, nil
}

func (l *Ledger) resume(old []byte, want Header, force bool) error {
	kept, err := ReadLedger(old)
	if err != nil {
		return err
	}
	l.Header, l.Lines = kept.Header, kept.Lines
	where := filepath.Base(l.path)
	if kept.Header.Fingerprint != want.Fingerprint {
		note := fmt.Sprintf("begun on another machine (%s) than it goes on (%s)", kept.Header.Fingerprint, want.Fingerprint)
		if !force {
			return fmt.Errorf("%w: %s was %s: remove it to begin anew, or go on with --force", ErrOther, where, note)
		}
		l.Lines = append(l.Lines, Line{Note: note})
		l.Header.Fingerprint = want.Fingerprint
	}
	if want.Seed != 0 && want.Seed != kept.Header.Seed {
		return fmt.Errorf("%w: %s was begun with seed %d: remove it to begin anew with seed %d, or leave out --seed", ErrOther, where, kept.Header.Seed, want.Seed)
	}
	l.Resumed = l.Kept()
	return nil
}

// ReadLedger reads a whole ledger. A last line that a crash tore is left out.
// Error: ErrHarness.
func ReadLedger(raw []byte) (*Ledger, error) {
	l := &Ledger{}
	for n := 1; len(raw) > 0; n++ {
		line, rest, whole := bytes.Cut(raw, []byte{'\n'})
		if !whole {
			break
		}
		raw = rest
		var into any = &l.Header
		if n > 1 {
			l.Lines = append(l.Lines, Line{})
			into = &l.Lines[len(l.Lines)-1]
		}
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(into); err != nil {
			return nil, fmt.Errorf("%w: line %d of the ledger: %v", ErrHarness, n, err)
		}
	}
	if l.Header.Schema != Schema {
		return nil, fmt.Errorf("%w: it says %q, this dyno reads %q", ErrHarness, l.Header.Schema, Schema)
	}
	return l, nil
}

// rewrite writes what counts anew: a line torn by a crash must not stand in front
// of the next one. The old file stands until the new one is whole.
func (l *Ledger) rewrite() error {
	text := append(encode(l.Header), '\n')
	for _, line := range l.Lines {
		text = append(append(text, encode(line)...), '\n')
	}
	draft := l.path + ".new"
	f, err := os.Create(draft)
	if err != nil {
		return err
	}
	l.file = f
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(draft, l.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return nil
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: ledger does not encode: %v", err)) // callers check that values are finite
	}
	return raw
}

// add keeps one line; it is on the disk when add returns.
func (l *Ledger) add(line Line) error {
	_, err := l.file.Write(append(encode(line), '\n'))
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep a run: %w", err)
	}
	l.Lines = append(l.Lines, line)
	return nil
}

// Path is where the ledger lies.
func (l *Ledger) Path() string { return l.path }

// Close closes the file and leaves it, unless nothing was measured: what it says
// of chance is then of no use to anybody.
func (l *Ledger) Close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if len(l.Lines) == 0 {
		err = errors.Join(err, os.Remove(l.path))
		if rerr := os.Remove(l.path + ".new"); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// Done removes the ledger: what it says stands in a result now.
func (l *Ledger) Done() error {
	l.Lines = nil
	return l.Close()
}

// Text is the whole ledger as it stands on the disk.
func (l *Ledger) Text() ([]byte, error) { return os.ReadFile(l.path) }

// load is what the probe found; nil before it ran.
func (l *Ledger) load() map[string]float64 {
	for _, line := range l.Lines {
		if line.Load != nil {
			return line.Load
		}
	}
	return nil
}

// tries is how often a block was begun.
func (l *Ledger) tries(s Slot) (n int) {
	for _, line := range l.Lines {
		if line.Linked != nil && line.Linked.Slot == s {
			n++
		}
	}
	return n
}

// counted is the try at a block that counts; 0 where there is none yet.
func (l *Ledger) counted(s Slot) int {
	for _, line := range l.Lines {
		if c := line.Closed; c != nil && c.Slot == s && len(c.Redo) == 0 && c.Void == "" {
			return c.Try
		}
	}
	return 0
}

// Kept is how many blocks count.
func (l *Ledger) Kept() int { return l.kept(Main) + l.kept(Confirm) }

func (l *Ledger) kept(stage Stage) (n int) {
	for l.counted(Slot{stage, n}) > 0 {
		n++
	}
	return n
}

// headAlone says whether the runs of a try that say nothing are head's, and all of
// them: its load is what base takes.
func (l *Ledger) headAlone(toss Toss, s Slot, try int) bool {
	if toss.Null {
		return false
	}
	for _, line := range l.Lines {
		r := line.Run
		if r != nil && r.Slot == s && r.Try == try && (r.Side == Head) != (r.Status == Invalid) {
			return false
		}
	}
	return true
}

// Mute is how many runs of each side said nothing, outside null blocks.
func (l *Ledger) Mute(p *Plan) (base, head int) {
	for _, line := range l.Lines {
		r := line.Run
		switch {
		case r == nil || r.Status != Invalid || p.Toss(l.Header.Seed, r.Slot).Null:
		case r.Side == Base:
			base++
		default:
			head++
		}
	}
	return base, head
}

// Redone is how many whole blocks of a stage were set aside, for signals of the
// machine or a run that said nothing.
func (l *Ledger) Redone(stage Stage) (n int) {
	for _, line := range l.Lines {
		if c := line.Closed; c != nil && c.Stage == stage && len(c.Redo) > 0 {
			n++
		}
	}
	return n
}

// Evidence is what a judge is given: every block whose four runs are there, those
// that were set aside among them. A run's commit is that of the program which ran,
// not of the side that was due.
func (l *Ledger) Evidence(p *Plan, nulls map[string][]float64) *gate.Evidence {
	e := &gate.Evidence{Base: l.Header.Base, Head: l.Header.Head, Seed: l.Header.Seed, ConfirmSeed: ConfirmSeed(l.Header.Seed), Ledger: nulls}
	for _, line := range l.Lines {
		c := line.Closed
		if c == nil || c.Void != "" {
			continue
		}
		b := gate.Block{Number: c.Number, Null: p.Toss(l.Header.Seed, c.Slot).Null, Order: c.Order, Redo: strings.Join(c.Redo, "; "), Runs: l.runs(p, c)}
		if c.Stage == Main {
			e.Blocks = append(e.Blocks, b)
		} else {
			e.Confirm = append(e.Confirm, b)
		}
	}
	return e
}

// runs are the runs of a closed try, in the order in which they were measured.
func (l *Ledger) runs(p *Plan, c *Closed) (runs []gate.Run) {
	commits, layouts := map[string]string{}, map[string]uint32{} // by program
	for _, line := range l.Lines {
		if k := line.Linked; k != nil && k.Slot == c.Slot && k.Try == c.Try {
			for side, hash := range k.Programs {
				commits[hash], layouts[hash] = l.Header.Base, k.Layouts[side]
				if side == Head && !p.Toss(l.Header.Seed, c.Slot).Null {
					commits[hash] = l.Header.Head
				}
			}
		}
		if r := line.Run; r != nil && r.Slot == c.Slot && r.Try == c.Try {
			runs = append(runs, gate.Run{Commit: commits[r.Program], Layout: int64(layouts[r.Program]), At: r.Began.UnixNano(), Values: r.Values})
		}
	}
	return runs
}

// Stored lists the runs that a result shows, in the order they were measured: those
// of blocks that count, and those that were not good.
func (l *Ledger) Stored() (runs []*Run) {
	for _, line := range l.Lines {
		if r := line.Run; r != nil && (r.Status != OK || l.counted(r.Slot) == r.Try) {
			runs = append(runs, r)
		}
	}
	return runs
}
