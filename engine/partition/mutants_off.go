//go:build !mutants

package partition

// forced is the mutant every partition of this process has: none in a real build.
func forced() mutant { return 0 }

// waste is what mutAllocate does.
func waste() {}

// leak is what mutLeak does.
func leak(*Append) {}

func forcedCopies() int64 { return 0 }
