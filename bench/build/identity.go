package build

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
)

// apart are the sections that may differ between two programs that do the same:
// tables of lines and names that only tracebacks and profiles read (comments move
// lines), the table of modules that holds the lengths of those, the description of
// the build, and what is not loaded at all.
var apart = []string{".gopclntab", ".go.module", ".go.buildinfo", ".go.fipsinfo", ".note.go.buildid", ".note.gnu.build-id",
	".symtab", ".strtab", ".shstrtab"}

// Identical says whether two programs that were linked with the same layout run
// the same instructions on the same data: text, data and symbols are equal. Then
// why is ""; otherwise it names the first difference. Line tables may differ, so
// an edit of comments alone is identical, unless it makes them so much longer that
// what follows moves to another page: that counts as different, which costs a
// comparison and says nothing wrong.
func Identical(a, b string) (same bool, why string, err error) {
	x, err := elf.Open(a)
	if err != nil {
		return false, "", fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = x.Close() }() // it was only read
	y, err := elf.Open(b)
	if err != nil {
		return false, "", fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = y.Close() }()
	if why, err = compareSections(x, y); why == "" && err == nil {
		why, err = compareSymbols(x, y)
	}
	if err != nil {
		return false, "", fmt.Errorf("identity: %w", err)
	}
	return why == "", why, nil
}

func loaded(f *elf.File) []*elf.Section {
	return slices.DeleteFunc(slices.Clone(f.Sections), func(s *elf.Section) bool {
		return s.Flags&elf.SHF_ALLOC == 0 || slices.Contains(apart, s.Name)
	})
}

func compareSections(x, y *elf.File) (why string, err error) {
	xs, ys := loaded(x), loaded(y)
	if xn, yn := names(xs), names(ys); !slices.Equal(xn, yn) {
		return fmt.Sprintf("sections %v and %v", xn, yn), nil
	}
	for i, s := range xs {
		if s.Size != ys[i].Size {
			return fmt.Sprintf("%s has %d and %d bytes", s.Name, s.Size, ys[i].Size), nil
		}
		if s.Type == elf.SHT_NOBITS {
			continue
		}
		same, err := sameBytes(s.Open(), ys[i].Open())
		if err != nil {
			return "", fmt.Errorf("read %s: %w", s.Name, err)
		}
		if !same {
			return s.Name + " differs", nil
		}
	}
	return "", nil
}

func names(sections []*elf.Section) []string {
	out := make([]string, len(sections))
	for i, s := range sections {
		out[i] = s.Name
	}
	return out
}

func sameBytes(x, y io.Reader) (bool, error) {
	const block = 64 << 10
	a, b := make([]byte, block), make([]byte, block)
	for {
		n, err := io.ReadFull(x, a)
		m, merr := io.ReadFull(y, b)
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if err = cmp.Or(err, merr); err != nil {
			return false, err
		}
	}
}

// place is a symbol by name and by where it lies in its section.
type place struct {
	name, section string
	offset, size  uint64
}

func compareSymbols(x, y *elf.File) (why string, err error) {
	xs, err := places(x)
	if err != nil {
		return "", err
	}
	ys, err := places(y)
	if err != nil {
		return "", err
	}
	if len(xs) != len(ys) {
		return fmt.Sprintf("%d and %d symbols", len(xs), len(ys)), nil
	}
	for i := range xs {
		if xs[i] != ys[i] {
			return fmt.Sprintf("symbol %s and symbol %s at another place or of another size", xs[i].name, ys[i].name), nil
		}
	}
	return "", nil
}

// places lists the symbols of the loaded sections, in the order of the file's table.
func places(f *elf.File) ([]place, error) {
	table, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	var out []place
	for _, s := range table {
		if s.Section == elf.SHN_UNDEF || int(s.Section) >= len(f.Sections) {
			continue
		}
		if sec := f.Sections[s.Section]; sec.Flags&elf.SHF_ALLOC != 0 && !slices.Contains(apart, sec.Name) {
			out = append(out, place{s.Name, sec.Name, s.Value - sec.Addr, s.Size})
		}
	}
	return out, nil
}
