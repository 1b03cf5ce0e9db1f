package stats

import "testing"

// The example of the paper: fifteen comparisons, of which four are found at 5 %,
// where Bonferroni finds three.
func TestBenjaminiHochbergOfThePaper(t *testing.T) {
	p := []float64{0.0459, 0.0001, 0.0344, 0.0298, 0.0278, 0.0201, 0.0095, 0.0019, 0.0004, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1}
	q, found := BenjaminiHochberg(p), 0
	for i := range q {
		if q[i] <= 0.05 {
			found++
			if p[i] > 0.0095 {
				t.Errorf("p = %v was found", p[i])
			}
		}
		for j := range q {
			if p[j] > p[i] && q[j] < q[i] {
				t.Errorf("q falls from %v to %v while p rises", q[i], q[j])
			}
		}
	}
	if found != 4 {
		t.Errorf("%d found, the paper has 4", found)
	}
	near(t, "largest", q[len(q)-1], 1)
	near(t, "smallest", q[1], 15*0.0001)
	near(t, "fourth", q[6], 15*0.0095/4)
}
