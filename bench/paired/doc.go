// Package paired runs two programs against each other in blocks of four runs, in
// an order that a coin decides, and keeps every run in a ledger.
//
// It does not know what a run does: a Stand makes the programs and runs them. It
// does not decide either: package gate throws the coins, and is asked at each look
// what the blocks say and whether it needs more.
//
// A comparison, in order:
//
//  1. OpenLedger goes on with the ledger of the same comparison or begins one; the
//     seed of all its coins stands in the ledger's head.
//  2. Run asks the Judge; while it wants blocks, the next of the Plan is run: its
//     two programs are linked with layouts of their own, its four runs follow, or
//     take turns, in the order of its coin, each in a fresh directory.
//  3. After a block the signals of the machine are compared with the Limits. A
//     block that was disturbed is run again, in the same order; so is one that was
//     cut off, or of which a run said nothing. The second block of which all of
//     head's runs and none of base's say nothing is the verdict.
//  4. Audit holds the ledger against the plan before the judge sees it.
//
// Invariants: a block counts whole or not at all; a run that said something is
// never left out for what it said; what is on the disk when Run is killed is enough to go
// on, with the same coins.
//
// Read next: plan.go, ledger.go, audit.go, run.go.
package paired
