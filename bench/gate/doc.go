// Package gate decides whether a commit does worse than another one, or than what
// was written down, and says so to people and machines. It is a function: no clock,
// no I/O, no goroutine; the same rule and evidence give the same decision. It does
// not run anything.
//
// Lane x compares exact counters of a replay (bench/replay), see xlane.go. Lane t
// compares time, from blocks of runs that were measured in an order that a coin
// chose, see judge.go; it does not see what counters see. What is written is the
// same for every lane, see report.go.
//
// What a caller of lane t does, in order:
//
//  1. Rule.Reachable refuses a rule that could never decide.
//  2. Rule.Slot says, for the seed of this run and a number from 0, whether the
//     next block compares base with head or base with base, and in which order. A
//     block is four runs: ABBA or BAAB, each a fresh process with fresh data. Base
//     and head are linked anew for each block, with layouts of their own.
//  3. A block that was disturbed, or of which a run said nothing, is kept, with the
//     reason in Redo, and measured again under the same number and order.
//  4. Judge says what to do next (CONTINUE with what it needs) or gives a verdict.
//     It may be called at any time; only the looks of the rule decide.
//  5. When it needs a confirmation, Coin with another seed gives the orders.
//
// What makes the decision trustworthy: swapping the labels A and B changes nothing
// if the commits are alike, so the coin alone makes the distribution of the test;
// and Judge recomputes the coin, so whoever did not obey it is found out. Evidence
// that contradicts itself is ErrEvidence, never a verdict.
//
// What it cannot promise: a drip of regressions below the effect of a metric
// passes each time (stats.Changes over the history sees it); bounds presume that
// the change is about the same in every block; a confirmation on the same machine
// shares its faults, so say where it ran.
//
// Read next: judge.go, then rule.go for the numbers.
package gate
