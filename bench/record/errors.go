package record

import "errors"

var (
	// ErrSchema means run.json was written by another version of the schema.
	ErrSchema = errors.New("record: result of another schema version")
	// ErrInvalid means run.json does not obey the schema.
	ErrInvalid = errors.New("record: invalid result")
	// ErrNotResult means the directory holds no run.json.
	ErrNotResult = errors.New("record: not a result directory")
	// ErrSealed means the directory already holds its run.json.
	ErrSealed = errors.New("record: result is sealed")
	// ErrFull means that a day's numbers are used up.
	ErrFull = errors.New("record: no result number left today")
)
