package bench

import (
	"os"
	"strings"
	"testing"
)

// TestMutantsAreDocumented holds the README's table against the list.
func TestMutantsAreDocumented(t *testing.T) {
	raw, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			name := strings.Trim(cells[1], " `")
			name, _, _ = strings.Cut(strings.ReplaceAll(name, "[", ":"), ":")
			rows[name] = strings.ReplaceAll(cells[2]+cells[3], "`", "")
		}
	}
	for _, m := range Mutants {
		if row := rows[m.Name]; !strings.Contains(row, m.What) || !strings.Contains(row, m.Lane) {
			t.Errorf("%s: the README says %q, not %q and %q", m.Name, row, m.What, m.Lane)
		}
	}
}
