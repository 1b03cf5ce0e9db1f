package gate

import (
	"math"
	"testing"
)

// strict is a rule whose candidates are decided by the test alone: no effect
// shields it, and no bound ends a run before the last look. Its looks are small
// enough for every sign vector to be looked at.
func strict(looks ...int) Rule {
	r := Default()
	for i := range r.Metrics {
		r.Metrics[i].Effect, r.Metrics[i].Bound = 1e-9, 1e-9
	}
	r.Looks = looks
	return r
}

func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("thousands of trials")
	}
}

var machines = []struct {
	name string
	noise
}{
	{"normal", normal(0.06)},
	{"heavy", heavy(0.06)},
	{"drifting", drifting(0.01)},
	{"correlated", correlated(0.06)},
	{"stepping", stepping(0.04)},
}

// Nothing changed: a candidate in 1 % of trials among four metrics, on every kind
// of machine. One look spends the whole level, so this is where a wrong test shows.
// The steps of 2^-11 make it 0.98 %: of 800 trials 8, and 18 is 3.6 standard
// deviations above; of all 4,000 39, and 58 is 3 above. A dead test is below 20.
func TestFamilyErrorOnEveryMachine(t *testing.T) {
	long(t)
	const trials = 800
	all := 0
	for k, m := range machines {
		c := simulate(t, trials, strict(11), m.noise, nil, uint64(k)<<32)
		alarms := total(c.candidates)
		t.Logf("%s: %d candidates in %d, %d confirmed", m.name, alarms, trials, c.verdicts[Fail])
		if alarms > 18 {
			t.Errorf("%s: %d candidates in %d trials without a change", m.name, alarms, trials)
		}
		if c.verdicts[Fail] > 4 { // Poisson with mean 0.4: 0.0001
			t.Errorf("%s: %d of %d trials without a change fail", m.name, c.verdicts[Fail], trials)
		}
		all += alarms
	}
	if all > 58 || all < 20 {
		t.Errorf("%d candidates in %d trials, promised 1 %%", all, trials*len(machines))
	}
}

// Three looks share the level: of 400 trials at most 4 on each machine, and 11 is
// 3.5 standard deviations above.
func TestFamilyErrorOverThreeLooks(t *testing.T) {
	long(t)
	const trials = 400
	for k, m := range machines[2:4] {
		c := simulate(t, trials, strict(11, 12, 13), m.noise, nil, uint64(k+10)<<32)
		t.Logf("%s: %d candidates in %d", m.name, total(c.candidates), trials)
		if alarms := total(c.candidates); alarms > 11 {
			t.Errorf("%s: %d candidates in %d trials without a change", m.name, alarms, trials)
		}
	}
}

// one is the default rule for a single metric.
func one() Rule {
	r := Default()
	r.Metrics = r.Metrics[:1]
	return r
}

// How often a metric that is 5 % worse, one of four, is a candidate by each look,
// for the scatter of blocks. The table is from 700 to 1,500 trials with other
// seeds. A t test by normal theory would have 0.93 where sigma 3 % has 0.88, and
// 0.54, 0.93, 0.99 at 4 %: with 12 blocks there are only 13 sign vectors to be
// among, and that costs some power. 100 trials: the standard error is up to
// 5 %. In the end 95 % fail, confirmation included: below 91 of 100 is
// 2 standard deviations less.
func TestPowerByLook(t *testing.T) {
	long(t)
	for k, c := range []struct {
		sigma float64
		fires [3]float64
	}{
		{0.02, [3]float64{1, 1, 1}},
		{0.03, [3]float64{0.88, 0.995, 1}},
		{0.04, [3]float64{0.53, 0.89, 0.97}},
	} {
		const trials = 100
		change := make([]float64, 4)
		change[k] = 0.05
		got := simulate(t, trials, Default(), normal(c.sigma), change, uint64(k+20)<<32)
		for i, look := range Default().Looks {
			want, share := c.fires[i], got.upTo(got.candidates, look)
			t.Logf("sigma %v: candidate by %d in %.3f, table %.2f", c.sigma, look, share, want)
			if room := 3 * math.Sqrt((want*(1-want)+0.01)/trials); math.Abs(share-want) > room {
				t.Errorf("sigma %v: candidate by %d in %.3f, table %.2f", c.sigma, look, share, want)
			}
		}
		t.Logf("sigma %v: %v", c.sigma, got.verdicts)
		if failed := float64(got.verdicts[Fail]) / trials; failed < 0.91 {
			t.Errorf("sigma %v: %.3f of the regressions fail in the end, confirmation included", c.sigma, failed)
		}
	}
}

// How often an unchanged metric is bounded by each look. The table is from 1,500
// trials with other seeds; normal theory has 0.93 where sigma 4 % has 0.91, and
// 0.75, 0.94, 0.99 at 5 %. 200 trials: the standard error is at most 3.2 %.
func TestBoundedPassShare(t *testing.T) {
	long(t)
	for _, c := range []struct {
		sigma  float64
		passes [3]float64
	}{
		{0.03, [3]float64{0.99, 1, 1}},
		{0.04, [3]float64{0.91, 0.99, 1}},
		{0.05, [3]float64{0.73, 0.93, 0.98}},
	} {
		const trials = 200
		got := simulate(t, trials, one(), normal(c.sigma), nil, uint64(c.sigma*1000+500)<<32)
		for i, look := range one().Looks {
			want, share := c.passes[i], got.upTo(got.passes, look)
			t.Logf("sigma %v: passed by %d in %.3f, table %.2f", c.sigma, look, share, want)
			if room := 3 * math.Sqrt((want*(1-want)+0.01)/trials); math.Abs(share-want) > room {
				t.Errorf("sigma %v: passed by %d in %.3f, table %.2f", c.sigma, look, share, want)
			}
		}
	}
}

// A metric that is worse by exactly its bound passes in at most 1 % per look. The
// effect is out of the way, so that nothing is caught as a candidate first: the
// bound alone must hold, whatever the noise. One look: of 800 trials at most 8,
// and 18 is 3.6 standard deviations above; three looks: 24, and 39 is 3 above.
func TestFalsePassOfARealRegression(t *testing.T) {
	long(t)
	r := one()
	const trials = 800
	for k, m := range machines {
		r.Metrics[0].Effect, r.Looks = 1, []int{11}
		c := simulate(t, trials, r, m.noise, []float64{0.05}, uint64(k+30)<<32)
		t.Logf("%s: %d of %d passed", m.name, total(c.passes), trials)
		if passed := total(c.passes); passed > 18 {
			t.Errorf("%s: %d of %d pass with 5 %% more", m.name, passed, trials)
		}
	}
	r.Looks = []int{11, 12, 13}
	c := simulate(t, trials, r, normal(0.06), []float64{0.05}, 40<<32)
	t.Logf("three looks: %d of %d passed", total(c.passes), trials)
	if passed := total(c.passes); passed > 39 {
		t.Errorf("three looks: %d of %d pass with 5 %% more", passed, trials)
	}
}

// What Detectable promises before a run: 95 % power at that change.
func TestDetectableIsDetected(t *testing.T) {
	long(t)
	r := Default()
	r.Looks, r.Alpha = []int{12}, r.LookAlpha()
	for _, sigma := range []float64{0.01, 0.04} {
		const trials = 600
		change := make([]float64, 4)
		change[1] = r.Detectable(r.Metrics[1], sigma, 12)
		c := simulate(t, trials, r, normal(sigma), change, uint64(sigma*1000+700)<<32)
		share := c.upTo(c.candidates, 12)
		t.Logf("sigma %v: %.2f %% is a candidate in %.3f", sigma, 100*change[1], share)
		if share < 0.92 || share > 0.985 {
			t.Errorf("sigma %v: %.2f %% is a candidate in %.3f, promised 0.95", sigma, 100*change[1], share)
		}
	}
}
