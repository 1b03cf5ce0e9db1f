//go:build mutants

package replay

import (
	"errors"

	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/wal"
)

// mutate breaks this process in the way of that name, "" in none.
func mutate(name string) error {
	var errs []error
	for _, set := range []func(string) error{wal.SetMutant, replica.SetMutant, partition.SetMutant} {
		err := set(name)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
