package loadgen

import "testing"

func TestSaturate(t *testing.T) {
	r := mustRun(t, small(fake(t)))
	raw, _ := r.JSON()
	t.Logf("%s %+v", raw, r.Detail)
}
