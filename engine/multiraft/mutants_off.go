//go:build !mutants

package multiraft

// forced is the mutant every group of this process has: none in a real build.
func forced() mutant { return 0 }

// linger does not, in a real build.
func (b *mailbox) linger() {}
