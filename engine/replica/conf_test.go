package replica

import (
	"testing"

	"dyno/engine/ids"
)

// TestPackMembers: a membership and a state come apart as they went together; what
// was cut off is refused.
func TestPackMembers(t *testing.T) {
	for _, m := range []Members{{}, {Voters: []ids.ReplicaID{1, 7}, Learners: []ids.ReplicaID{9}, AutoLeave: true, At: 12}} {
		b := m.Pack([]byte("state"))
		got, state, err := UnpackMembers(b)
		if err != nil || string(state) != "state" || (got == nil) != (m.At == 0) || got != nil && got.At != m.At {
			t.Errorf("%+v: %+v, %q, %v", m, got, state, err)
		}
		for n := 1; n < 4; n++ {
			if _, _, err := UnpackMembers(b[:n]); err == nil {
				t.Errorf("%d bytes were taken", n)
			}
		}
		if m.At != 0 {
			if _, _, err := UnpackMembers(b[:8]); err == nil {
				t.Error("half a membership was taken")
			}
		}
	}
}
