// Package maxrate finds the largest rate at which something holds, from short
// trials that may err. It decides which rate to try next and what the answer is; it
// runs no trial, reads no clock and draws from its seed alone.
//
// It follows the manner of MLRsearch (IETF draft-ietf-bmwg-mlrsearch): many short
// trials, a tolerated share of bad ones for each rate, coarse before fine, and an
// answer below the smallest rate that was shown to fail.
//
// # Use
//
//  1. New makes a Plan.
//  2. Next says what to try; do so, and give the outcome to Take. Repeat until Next
//     has nothing more.
//  3. Answer is the interval.
//
// # How it searches
//
//	search   the rate doubles, or halves, until one held and one failed; then three
//	         rates between them are tried in shuffled order, and again between the
//	         two that the border lies between. Two of three trials decide a rate, so
//	         one stray trial misleads nobody.
//	measure  fresh trials alone count. The ends are rates of their own: the lower one
//	         two thirds of the width below the border that search found, the upper one
//	         a sixth above it. A rate held when at least 1/Bad trials, and five, were
//	         made and no more than the share Bad of them was bad. It failed when so many
//	         bad ones have a chance of 1 % where Bad is the true share. Between the two
//	         it is unclear: an end of no interval. An end that is not what it should be
//	         moves outwards, each time twice as far as the last.
//	confirm  one longer trial at the lower end. If that is bad the rate counts as
//	         failed, and measure goes on below it.
//
// How sure the interval is depends on how noise compares with its width: in the
// simulations of maxrate_test.go the rate with exactly the share Bad of bad trials lies
// in it in at least 95 of 100 searches while trials at rates half a width apart differ by
// more than their noise. Ask for a wider interval where trials vary more.
//
// # Invariants
//
//   - Evidence is monotone: Low is the largest rate that held below the smallest that
//     failed, whatever else held above.
//   - Low and High were each tried in measure, with trials that search never saw.
//   - The same seed and outcomes give the same trials, so a search can be replayed.
//   - It ends: ends move outwards geometrically between Lowest and Highest, the
//     interval only shrinks between them, and TrialsMax bounds both.
//
// Read next: search.go, measure.go, and the simulations in maxrate_test.go.
package maxrate
