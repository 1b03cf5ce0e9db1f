package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"dyno/bench/record"
	"dyno/bench/stats"
)

// ledger keeps finished repetitions of an experiment in a file, so that an
// interruption costs one repetition. It is removed when the result is written.
// One goroutine owns it, under the lab lock.
type ledger struct {
	path string
	file *os.File
	arms map[string][]record.Repetition
	// phases are the states of space that an arm's repetitions met, each once.
	phases map[string][]string
	// cautions are what an earlier run said while it measured what it left, in order.
	cautions []string
	// exact says that the build tells its whole source: without that nothing is
	// kept for another invocation, which may be another build.
	exact bool
	// Resumed is how many repetitions an earlier run left.
	resumed int
}

// ledgerHead says which run a ledger belongs to. Another commit, machine, plan or
// setting of the Go runtime is another run: its figures must not be mixed.
type ledgerHead struct {
	Schema      string         `json:"schema"`
	Experiment  string         `json:"experiment"`
	Fingerprint string         `json:"fingerprint"`
	Go          record.GoFacts `json:"go"`
	Commit      record.Commit  `json:"commit"`
	Config      string         `json:"config"`
	Turns       int            `json:"turns"`
}

type ledgerLine struct {
	Arm        string            `json:"arm"`
	Repetition record.Repetition `json:"repetition"`
	Phase      string            `json:"phase,omitempty"`
	Cautions   []string          `json:"cautions,omitempty"` // said since the line before
}

const ledgerSchema = "dyno.ledger/3"

// openLedger goes on with the ledger of the same run, or starts one. The file's
// name tells the runs apart, so that none loses what another one kept.
func openLedger(root string, e *Experiment, env *record.Environment, source record.Commit, order []turn) (*ledger, error) {
	config, err := json.Marshal(e.Config)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	head, err := json.Marshal(ledgerHead{ledgerSchema, e.Name, env.Fingerprint, env.Go, source, string(config), len(order)})
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	hash := sha256.Sum256(head)
	l := &ledger{
		path: filepath.Join(root, fmt.Sprintf(".ledger-%s-%.8x.jsonl", e.Name, hash[:])),
		arms: map[string][]record.Repetition{}, phases: map[string][]string{}, exact: source.Exact(),
	}
	if err := os.MkdirAll(root, 0o755); err != nil { // with --data elsewhere nobody has made it yet
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	old, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	kept := l.resume(old, head)
	if err := l.rewrite(append(append(head, '\n'), kept...)); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

// rewrite puts a file with that text in the ledger's place and keeps it open: a line
// torn by a crash must not stand in front of the next one. The old file is there until
// the new one is on the disk, so no end of the program costs what was kept.
func (l *ledger) rewrite(text []byte) error {
	draft := l.path + ".new" // of a run that died here too: the lab lock makes it ours
	f, err := os.Create(draft)
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(draft, l.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(l.path))
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.RemoveAll(draft))
	}
	l.file = f
	return nil
}

// resume takes over the whole lines of an old ledger with the same head and
// returns them.
func (l *ledger) resume(old, head []byte) []byte {
	first, rest, ok := bytes.Cut(old, []byte{'\n'})
	if !ok || !l.exact || !bytes.Equal(first, head) {
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
		l.take(line)
		l.cautions = append(l.cautions, line.Cautions...)
		l.resumed++
		kept = append(append(kept, lines.Bytes()...), '\n')
	}
	return kept
}

func (l *ledger) take(line ledgerLine) {
	l.arms[line.Arm] = append(l.arms[line.Arm], line.Repetition)
	if seen := l.phases[line.Arm]; line.Phase != "" && !slices.Contains(seen, line.Phase) {
		l.phases[line.Arm] = append(seen, line.Phase)
	}
}

// kept is how many repetitions the next invocation will find.
func (l *ledger) kept() int {
	n := 0
	for _, reps := range l.arms {
		n += len(reps)
	}
	if !l.exact {
		return 0
	}
	return n
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
func (l *ledger) add(line ledgerLine) error {
	raw, err := json.Marshal(line)
	if err == nil {
		_, err = l.file.Write(append(raw, '\n'))
	}
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep a repetition: %w", err)
	}
	l.take(line)
	return nil
}

// median is the middle of what an arm's good repetitions measured; false where there
// are none.
func (l *ledger) median(arm, measure string) (float64, bool) {
	vs := (&record.Arm{Repetitions: l.arms[arm]}).Values(measure)
	if len(vs) == 0 {
		return 0, false
	}
	return stats.Median(vs), true
}

// close keeps a ledger that another invocation can use; any other goes away.
func (l *ledger) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if l.kept() == 0 {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

// done removes the ledger: its repetitions stand in a result now.
func (l *ledger) done() error {
	clear(l.arms)
	return l.close()
}
