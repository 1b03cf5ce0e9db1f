package record

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files of a result. Any other name may stand beside them.
const (
	RunFile    = "run.json"
	BenchFile  = "bench.txt"
	ReportFile = "report.html"
)

// Dir is a result directory that is being written. One goroutine owns it.
type Dir struct {
	id     string
	path   string
	sealed bool
}

// numbersMax is how many results a day can have: a night of trials makes some
// hundreds.
const numbersMax = 999

// CompareIDs is below 0 where the result a was made before b: by day, then by number.
// As text, number 100 would lie between 10 and 11.
func CompareIDs(a, b string) int {
	dayA, restA, _ := strings.Cut(a, ".")
	dayB, restB, _ := strings.Cut(b, ".")
	numberA, nameA, _ := strings.Cut(restA, "-")
	numberB, nameB, _ := strings.Cut(restB, "-")
	return cmp.Or(cmp.Compare(dayA, dayB), cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB), cmp.Compare(nameA, nameB))
}

// Create makes root/YYYYMMDD.NN-name with the next free number of that day (UTC),
// of two digits up to 99 and of three up to numbersMax. mkdir is the arbiter between
// writers; a number is never given out twice while its directory stands. Error: ErrFull.
func Create(root, name string, now time.Time) (*Dir, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("create result: name %q must be lower-case letters, digits and dashes", name)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("create result root: %w", err)
	}
	day := now.UTC().Format("20060102")
	names, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("create result: %w", err)
	}
	taken := map[string]bool{}
	for _, n := range names {
		number, _, _ := strings.Cut(n.Name(), "-")
		taken[number] = true
	}
	for n := 1; n <= numbersMax; n++ {
		number := fmt.Sprintf("%s.%02d", day, n)
		if taken[number] {
			continue
		}
		d, err := claim(root, number, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		return d, err
	}
	return nil, fmt.Errorf("%w: %s in %s", ErrFull, day, filepath.Base(root))
}

// claim takes one number. Two names may race for it and mkdir cannot see that,
// so a lock name without the suffix decides and goes away again.
func claim(root, number, name string) (*Dir, error) {
	lock := filepath.Join(root, "."+number)
	if err := os.Mkdir(lock, 0o755); err != nil {
		return nil, err
	}
	defer os.Remove(lock)
	if taken, _ := filepath.Glob(filepath.Join(root, number+"-*")); len(taken) > 0 {
		return nil, fs.ErrExist
	}
	id := number + "-" + name
	path := filepath.Join(root, id)
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, err
	}
	return &Dir{id: id, path: path}, nil
}

// ID is the directory's name, which is the result's id.
func (d *Dir) ID() string { return d.id }

// Path is where files of the result are written.
func (d *Dir) Path() string { return d.path }

// Create makes a new file of the result. A name that stands already fails with
// fs.ErrExist; after Seal every name but report.html fails with ErrSealed.
func (d *Dir) Create(name string) (*os.File, error) {
	if d.sealed && name != ReportFile {
		return nil, fmt.Errorf("create %s: %w", name, ErrSealed)
	}
	return os.OpenFile(filepath.Join(d.path, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
}

// Seal writes bench.txt and then run.json; after it the directory is a result.
// run.json appears whole or not at all. Errors: ErrInvalid, ErrSealed.
func (d *Dir) Seal(run *Run) error {
	if d.sealed {
		return ErrSealed
	}
	run.Schema, run.ID = Schema, d.id
	if err := run.Validate(); err != nil {
		return err
	}
	if err := d.write(BenchFile, func(f *os.File) error { return WriteBench(f, run) }); err != nil {
		return err
	}
	draft := "." + RunFile
	if err := d.write(draft, func(f *os.File) error { return run.Encode(f) }); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(d.path, draft), filepath.Join(d.path, RunFile)); err != nil {
		return fmt.Errorf("seal %s: %w", d.id, err)
	}
	d.sealed = true
	return nil
}

func (d *Dir) write(name string, fill func(*os.File) error) error {
	f, err := d.Create(name)
	if err != nil {
		return fmt.Errorf("seal %s: %w", d.id, err)
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("seal %s: write %s: %w", d.id, name, err)
	}
	return nil
}

// Abandon removes the directory unless it was sealed. It is idempotent.
func (d *Dir) Abandon() error {
	if d == nil || d.sealed {
		return nil
	}
	return os.RemoveAll(d.path)
}

// Open reads the result in dir. Errors: ErrNotResult, ErrSchema, ErrInvalid.
func Open(dir string) (*Run, error) {
	f, err := os.Open(filepath.Join(dir, RunFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no %s", ErrNotResult, dir, RunFile)
	}
	if err != nil {
		return nil, fmt.Errorf("open result: %w", err)
	}
	defer f.Close()
	run, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, RunFile), err)
	}
	return run, nil
}
