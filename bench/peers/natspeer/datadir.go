package natspeer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeDir makes the data directory, or takes an empty one. made says which.
func makeDir(dir string) (made bool, err error) {
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return false, fmt.Errorf("make data directory: %w", err)
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%w: data directory: %v", ErrUsage, err)
	case len(names) > 0:
		return false, fmt.Errorf("%w: %s is not empty: name a new or an empty directory", ErrUsage, dir)
	}
	return false, nil
}

// clearDir removes what the servers made, and the directory if it was made here.
func clearDir(dir string, made bool) error {
	var errs []error
	for i := range serverCount {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, nodeName(i))))
	}
	if made {
		errs = append(errs, os.Remove(dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clear data directory: %w", err)
	}
	return nil
}
