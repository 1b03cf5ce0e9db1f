package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Files of one JSON object a line, which only grow: the history, the trials of the gate,
// the null blocks of a machine.

// appendJSON adds one line to such a file, durably.
func appendJSON(path string, line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.Write(append(raw, '\n')); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readJSONL reads every line of such a file and checks it; none where there is no file.
// An unknown field is an error. The error names the line.
func readJSONL[T any](path string, check func(*T) error) ([]T, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var lines []T
	scan := bufio.NewScanner(bytes.NewReader(raw))
	scan.Buffer(nil, len(raw)+1)
	for n := 1; scan.Scan(); n++ {
		var l T
		dec := json.NewDecoder(bytes.NewReader(scan.Bytes()))
		dec.DisallowUnknownFields()
		err := dec.Decode(&l)
		if err == nil {
			err = check(&l)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d of %s: %w", n, path, err)
		}
		lines = append(lines, l)
	}
	return lines, scan.Err()
}

func wantSchema(got, want string) error {
	if got != want {
		return fmt.Errorf("schema %q, this program knows %q", got, want)
	}
	return nil
}
