// Package attribute names the functions that made one of two programs slower, from
// CPU profiles of paired blocks, and only where the difference exceeds noise.
//
// It is pure: it takes no profile, runs nothing and writes no file; package bench
// does. In order:
//
//  1. Each profile becomes stacks of functions with CPU-seconds per million records
//     (stacks.go). What a function of ours calls in libraries and in the runtime is
//     its own cost: a copy is the fault of who asked for it, not of memmove.
//  2. A function that is gone and one that is new are taken for the same where names
//     or callers say so (renames.go).
//  3. For each function, alone and with all that it calls, the block differences are
//     tested by flipping signs, the whole list held to a false-discovery rate of 5 %.
//  4. A rise that a caller or callee balances by a fall is a cost that moved
//     (shifts.go). Of the rest, what is left is named, each cost once.
//
// The caller's duties: the blocks were run in an order that a coin decided for each
// block by itself, and both sides of all blocks did the same work.
//
// Invariants: where both sides are the same program, something is named in at most
// 5 of 100 attributions; renaming a function and moving code between a function and
// what it calls name nothing.
//
// Sources: FBDetect (SOSP 2024) for cost shifts; Benjamini and Hochberg, 1995.
//
// Read next: attribute.go.
package attribute
