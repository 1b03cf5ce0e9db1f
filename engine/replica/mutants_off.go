//go:build !mutants

package replica

// forced is the mutant every replica of this process has: none in a real build.
func forced() mutant { return 0 }
