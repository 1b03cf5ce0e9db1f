package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dyno/bench/record"
)

// ledger keeps finished repetitions of an experiment in a file, so that an
// interruption costs one repetition. It is removed when the result is written.
// One goroutine owns it, under the lab lock.
type ledger struct {
	path string
	file *os.File
	arms map[string][]record.Repetition
	// Resumed is how many repetitions an earlier run left.
	resumed int
}

// ledgerHead says which run a ledger belongs to. Another commit, machine or plan
// is another run: its figures must not be mixed.
type ledgerHead struct {
	Schema      string        `json:"schema"`
	Experiment  string        `json:"experiment"`
	Fingerprint string        `json:"fingerprint"`
	Commit      record.Commit `json:"commit"`
	Config      string        `json:"config"`
	Turns       int           `json:"turns"`
}

type ledgerLine struct {
	Arm        string            `json:"arm"`
	Repetition record.Repetition `json:"repetition"`
}

const ledgerSchema = "dyno.ledger/1"

// openLedger goes on with the ledger of the same run, or starts one.
func openLedger(root string, e *Experiment, fingerprint string, order []turn) (*ledger, error) {
	config, err := json.Marshal(e.Config)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	head, err := json.Marshal(ledgerHead{ledgerSchema, e.Name, fingerprint, record.Source(), string(config), len(order)})
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &ledger{path: filepath.Join(root, ".ledger-"+e.Name+".jsonl"), arms: map[string][]record.Repetition{}}
	old, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	kept := l.resume(old, head)
	// What counts is written anew: a line torn by a crash must not stand in front
	// of the next one.
	if l.file, err = os.Create(l.path); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if _, err := l.file.Write(append(append(head, '\n'), kept...)); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.close())
	}
	return l, nil
}

// resume takes over the whole lines of an old ledger with the same head and
// returns them.
func (l *ledger) resume(old, head []byte) []byte {
	first, rest, ok := bytes.Cut(old, []byte{'\n'})
	if !ok || !bytes.Equal(first, head) {
		return nil
	}
	var kept []byte
	lines := bufio.NewScanner(bytes.NewReader(rest))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line ledgerLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			break
		}
		l.arms[line.Arm] = append(l.arms[line.Arm], line.Repetition)
		l.resumed++
		kept = append(append(kept, lines.Bytes()...), '\n')
	}
	return kept
}

func (l *ledger) has(arm string, number int) bool {
	for _, rep := range l.arms[arm] {
		if rep.Number == number {
			return true
		}
	}
	return false
}

// add keeps one repetition; it is on the disk when add returns.
func (l *ledger) add(arm string, rep record.Repetition) error {
	raw, err := json.Marshal(ledgerLine{arm, rep})
	if err == nil {
		_, err = l.file.Write(append(raw, '\n'))
	}
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep a repetition: %w", err)
	}
	l.arms[arm] = append(l.arms[arm], rep)
	return nil
}

// close keeps a ledger that has repetitions; an empty one goes away.
func (l *ledger) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if len(l.arms) == 0 {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

// done removes the ledger: its repetitions stand in a result now.
func (l *ledger) done() error {
	clear(l.arms)
	return l.close()
}
