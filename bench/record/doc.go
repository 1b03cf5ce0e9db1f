// Package record is the written form of a measurement: the schema of run.json,
// the directory a result lives in, the environment it was taken in, and the
// fingerprint that says whether two results may be compared.
//
// It does not run, judge or draw anything; bench does.
//
// A writer's duties, in order:
//
//  1. Create makes the directory; its number is taken atomically, so two
//     writers never share one.
//  2. Capture and Probe describe the machine before the first measurement.
//  3. Files go in with Dir.Create; a name is written once.
//  4. Dir.Seal validates the Run and writes run.json last. A directory without
//     run.json is no result: Dir.Abandon removes it.
//
// Invariants: a sealed directory is never changed, except that report.html may
// be drawn again from the rest. Every value of every repetition names a
// declared unit. No file holds a host name or an absolute path. A reader
// refuses unknown fields and other schema versions instead of guessing.
//
// Read next: run.go for the schema, environment.go for what is captured.
package record
