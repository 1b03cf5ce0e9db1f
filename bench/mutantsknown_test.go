//go:build mutants

package bench

import (
	"testing"

	"dyno/engine/kafka"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/wal"
)

// TestMutantsAreKnown wants each mutant of the list in the package that it names.
func TestMutantsAreKnown(t *testing.T) {
	set := map[string]func(string) error{"dyno/engine/kafka": kafka.SetMutant, "dyno/engine/multiraft": multiraft.SetMutant,
		"dyno/engine/partition": partition.SetMutant, "dyno/engine/replica": replica.SetMutant, "dyno/wal": wal.SetMutant}
	for _, m := range Mutants {
		name := m.Name
		if m.Size != "" {
			name += ":2"
		}
		if err := set[m.Package](name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := set[m.Package](""); err != nil {
			t.Error(err)
		}
	}
}
