//go:build !mutants

package wal

// forced is the mutant every log of this process has: none in a real build.
func forced() mutant { return 0 }
