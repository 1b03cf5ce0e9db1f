//go:build !mutants

package replay

import "fmt"

// mutate breaks this process; a real build has nothing to break.
func mutate(name string) error {
	if name != "" {
		return fmt.Errorf("no mutant %q in a build without the tag mutants", name)
	}
	return nil
}
