// Package build makes programs out of two commits of one repository in such a way
// that only the commits differ: the same toolchain, the same flags, paths of the
// same length, and a function layout that is drawn anew with each link.
//
// It does not measure or compare times and knows no broker; bench does.
//
// The caller's duties, in order:
//
//  1. Open the repository and Resolve both revisions; RequireClean where the
//     commit that is checked out stands for what lies in the tree.
//  2. NewBuilder takes a directory that is the caller's alone. It takes away what
//     a builder that died left in the repository.
//  3. Checkout each commit, Link as often as wanted.
//  4. Close removes every worktree, on every way out.
//
// Invariants: nothing of the repository but its list of worktrees is written, and
// after Close that list is as it was. No process outlives the call that started it.
//
// Read next: repo.go, tree.go, identity.go.
package build
