package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// freeBytes is what an ordinary user can still write below dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// requireFree refuses a run the disk cannot hold. Error: ErrNoSpace.
func requireFree(dir string, need int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("%w: %s has %s free and the run may write %s at a time; free some or choose another place with --data",
			ErrNoSpace, dir, byteWord(free), byteWord(need))
	}
	return nil
}

// fullBelow is the free space below which a failing run is put down to the disk.
const fullBelow = 64 << 20

// blameDisk says that the disk is full where an error came up on a full one.
func blameDisk(dir string, err error) error {
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	if free, ferr := freeBytes(dir); ferr != nil || free >= fullBelow {
		return err
	}
	return fmt.Errorf("%w: the disk filled up during the run: %w", ErrNoSpace, err)
}

// workDir is where the processes of one lab keep their data. Its owner holds the
// lab lock, so whatever an earlier lab left there belongs to nobody.
type workDir struct {
	path string
	made string // the root, if the lab made it; "" otherwise
	next int
}

const (
	workName = ".dyno-lab-work"
	workMark = "made-by-dyno-lab" // a file in it: without it the directory is not the lab's
)

// newWorkDir clears what a lab left below root and makes a new work directory. A
// directory of that name which no lab made is refused. Error: ErrUsage.
func newWorkDir(root string) (*workDir, error) {
	w := &workDir{path: filepath.Join(root, workName)}
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		w.made = root
	}
	if _, err := os.Lstat(w.path); err == nil {
		if err := w.clear(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(w.path, 0o755); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.path, workMark), nil, 0o644); err != nil {
		return nil, fmt.Errorf("mark work directory: %w", err)
	}
	return w, nil
}

func (w *workDir) clear() error {
	names, err := os.ReadDir(w.path)
	if err != nil {
		return fmt.Errorf("clear work directory: %w", err)
	}
	marked := slices.ContainsFunc(names, func(e fs.DirEntry) bool { return e.Name() == workMark })
	if len(names) > 0 && !marked { // an empty one may be a lab's that died before the mark
		return fmt.Errorf("%w: %s was not made by a lab: move it away, or choose another place with --data", ErrUsage, w.path)
	}
	return w.remove()
}

// remove takes the mark away last, so that what is left of an interrupted removal
// is still the lab's.
func (w *workDir) remove() error {
	names, err := os.ReadDir(w.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear work directory: %w", err)
	}
	for _, e := range names {
		if e.Name() == workMark {
			continue
		}
		if err := os.RemoveAll(filepath.Join(w.path, e.Name())); err != nil {
			return fmt.Errorf("clear work directory: %w", err)
		}
	}
	return os.RemoveAll(w.path)
}

// fresh makes an empty directory; names have the same length in every run.
func (w *workDir) fresh() (string, error) {
	w.next++
	dir := filepath.Join(w.path, fmt.Sprintf("%06d", w.next))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	return dir, nil
}

// settle deletes a data directory and lets the file system finish with it, so
// that its discards and write-back are not billed to the next repetition.
func (w *workDir) settle(dir string) error {
	err := os.RemoveAll(dir)
	return errors.Join(err, syncFS(w.path))
}

// close removes the work directory, and the root if the lab made it and nothing
// else lives in it.
func (w *workDir) close() error {
	err := w.remove()
	if w.made != "" {
		_ = os.Remove(w.made)
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// byteWord writes a size for people: "1.5 GiB".
func byteWord(n int64) string {
	const unit = 1024
	v, names := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; v >= unit && i < len(names)-1; i++ {
		v /= unit
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, names[i])
}
