package wal

// Mutant breaks the log that is opened with the options it returns.
func Mutant(o Options, m mutant) Options {
	o.mut = m
	return o
}

const (
	MutNoSync    = mutNoSync
	MutNoPromise = mutNoPromise
	MutNoDirSync = mutNoDirSync
	MutNoSeq     = mutNoSeq
)
