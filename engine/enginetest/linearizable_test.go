package enginetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"dyno/engine/ids"
)

// The model of one partition, for a client: a list of batches that only grows.
//
//	produce  appends a batch at the end; answered: at the offset that was told.
//	         Not answered: where the last read of all found it, at some time; or
//	         never, if that read did not
//	latest   tells where the list ends
//	fetch    shows batches at their offsets; it may end before the list does,
//	         because a follower may lag behind
//
// A state is the newest batch, which knows the one before it, so that states
// share what they have in common.
type logState struct {
	before *logState
	number int64
	base   ids.Offset
	end    ids.Offset
	hash   uint64
}

var partitionModel = porcupine.Model{
	Init: func() any { return &logState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, e := state.(*logState), input.(*Event)
		switch e.Kind {
		case Produced:
			if e.Offset != s.end {
				return false, s
			}
			return true, &logState{
				before: s, number: e.Value, base: s.end, end: s.end + ids.Offset(e.Records),
				hash: (s.hash ^ uint64(e.Value)) * 0x100000001b3,
			}
		case Told:
			return e.Offset == s.end, s
		default:
			return s.shows(e), s
		}
	},
	Equal: func(a, b any) bool {
		x, y := a.(*logState), b.(*logState)
		return x == y || x.end == y.end && x.number == y.number && x.hash == y.hash
	},
	Hash:              func(state any) uint64 { return state.(*logState).hash },
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", *input.(*Event)) },
}

// shows says whether the log holds what a fetch returned, where it returned it.
func (s *logState) shows(e *Event) bool {
	if len(e.Values) == 0 {
		return true
	}
	for s.before != nil && s.end > e.Next {
		s = s.before
	}
	if s.end != e.Next {
		return false
	}
	for i := len(e.Values) - 1; i >= 0; i-- {
		if s.before == nil || s.number != e.Values[i] {
			return false
		}
		if i == 0 && s.base != e.Offset {
			return false
		}
		s = s.before
	}
	return true
}

// operations is the history of one partition. Its last event reads all that there
// is, so the outcome of what was never answered is known in the end, if not when.
// Without that, each such batch would double what the checker has to try.
func operations(history []Event, p int) (list []porcupine.Operation) {
	records, found := map[int64]int32{}, map[int64]ids.Offset{}
	var last *Event
	for i := range history {
		if e := &history[i]; e.Partition == p {
			last = e
			if e.Kind == Produced {
				records[e.Value] = e.Records
			}
		}
	}
	if last == nil {
		return nil
	}
	end := ids.Offset(0)
	for _, v := range last.Values {
		found[v] = end
		end += ids.Offset(records[v])
	}
	for i := range history {
		e := history[i]
		if e.Partition != p {
			continue
		}
		returns := int64(2*e.End + 1)
		if e.End == 0 {
			base, ok := found[e.Value]
			if !ok {
				continue
			}
			e.Offset, returns = base, int64(2*last.End+1)
		}
		list = append(list, porcupine.Operation{ClientId: e.Client, Input: &e, Call: int64(2 * e.Start), Return: returns})
	}
	return list
}

// allAcksAll says whether all that is written to a partition waits for the
// commit: what acks=1 promises is not linearizable.
func allAcksAll(p int) bool { return p%4 != 3 }

// linearizable checks what clients saw of a run against the model, and returns
// how many operations that were.
func linearizable(t *testing.T, r *SimResult, partitions int) (n int) {
	t.Helper()
	for p := range partitions {
		if !allAcksAll(p) {
			continue
		}
		ops := operations(r.History, p)
		n += len(ops)
		if res := porcupine.CheckOperationsTimeout(partitionModel, ops, time.Minute); res != porcupine.Ok {
			t.Errorf("p%d: a history of %d operations is not linearizable: %s", p, len(ops), res)
		}
	}
	return n
}

// TestModelNotices: a history with one answer changed is not accepted.
func TestModelNotices(t *testing.T) {
	r := play(t, SimConfig{Seed: 100, Operations: 600})
	check := func() porcupine.CheckResult {
		return porcupine.CheckOperationsTimeout(partitionModel, operations(r.History, 0), time.Minute)
	}
	if res := check(); res != porcupine.Ok {
		t.Fatalf("as it was: %s", res)
	}
	for kind, what := range map[EventKind]string{Produced: "an offset", Fetched: "a batch", Told: "an end"} {
		i := len(r.History) - 1
		for ; r.History[i].Partition != 0 || r.History[i].Kind != kind || r.History[i].End == 0 || kind == Fetched && len(r.History[i].Values) == 0; i-- {
		}
		was := r.History[i]
		switch kind {
		case Fetched:
			r.History[i].Values = append([]int64{-1}, was.Values[1:]...)
		case Told: // long out of date; one batch before might be right
			r.History[i].Offset = 0
		default:
			r.History[i].Offset--
		}
		if res := check(); res != porcupine.Illegal {
			t.Errorf("%s changed in %+v: %s", what, was, res)
		}
		r.History[i] = was
	}
}
