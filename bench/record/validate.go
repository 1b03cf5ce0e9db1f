package record

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

var (
	idForm   = regexp.MustCompile(`^\d{8}\.(\d{2}|[1-9]\d{2})-[a-z0-9][a-z0-9-]*$`)
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	wordForm = regexp.MustCompile(`^\S+$`)
	hashForm = regexp.MustCompile(`^([0-9a-f]{40}|unknown)$`)
	// placeForm is an absolute path: all of a text that begins with one, a file as a URL, or
	// a word that follows neither a word, as in records/s, nor a slash, as in http://host.
	placeForm = regexp.MustCompile(`^(/.*)|file://(/[^\s"']*)|[^\w/.-](/[\pL\pN_.~-][^\s"',)\]}]*)`)
)

// Validate checks the run against the schema. Error: ErrInvalid, naming the
// first field that is wrong.
func (r *Run) Validate() error {
	for _, check := range []func() error{r.checkHead, r.checkUnits, r.checkArms, r.checkVerdict} {
		if err := check(); err != nil {
			return err
		}
	}
	return checkPlaces("config", r.Config)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func (r *Run) checkHead() error {
	switch {
	case r.Schema != Schema:
		return fmt.Errorf("%w: %q", ErrSchema, r.Schema)
	case !idForm.MatchString(r.ID):
		return invalid("id %q is not YYYYMMDD.NN-name or YYYYMMDD.NNN-name", r.ID)
	case r.Kind != KindSuite && r.Kind != KindExperiment && r.Kind != KindComparison:
		return invalid("kind %q", r.Kind)
	case r.Question == "" || r.Expectation == "":
		return invalid("question and expectation must be stated")
	case r.Started.IsZero():
		return invalid("started is missing")
	case !finite(r.Seconds) || r.Seconds < 0:
		return invalid("seconds %v", r.Seconds)
	case !hashForm.MatchString(r.Commit.Hash):
		return invalid("commit hash %q", r.Commit.Hash)
	case len(r.Seeds) == 0:
		return invalid("seeds are missing")
	}
	return r.Environment.check()
}

func (r *Run) checkUnits() error {
	seen := map[string]bool{}
	for _, u := range r.Units {
		switch {
		case !wordForm.MatchString(u.Name) || !wordForm.MatchString(u.Unit):
			return invalid("unit %q of %q must be words without spaces", u.Unit, u.Name)
		case seen[u.Name]:
			return invalid("unit of %q declared twice", u.Name)
		case !slices.Contains([]string{"", "higher", "lower"}, u.Better):
			return invalid("unit of %q: better %q", u.Name, u.Better)
		}
		seen[u.Name] = true
	}
	return nil
}

func (r *Run) checkArms() error {
	if len(r.Arms) == 0 {
		return invalid("no arms")
	}
	seen := map[string]bool{}
	for i := range r.Arms {
		arm := &r.Arms[i]
		if arm.Name == "" || strings.ContainsAny(arm.Name, " \t\n") || seen[arm.Name] {
			return invalid("arm name %q is empty, has spaces or stands twice", arm.Name)
		}
		seen[arm.Name] = true
		for key, value := range arm.Params {
			if !nameForm.MatchString(key) || !wordForm.MatchString(value) || strings.Contains(value, "/") {
				return invalid("arm %s: parameter %q=%q", arm.Name, key, value)
			}
		}
		for _, rep := range arm.Repetitions {
			if err := r.checkRepetition(arm.Name, rep); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Run) checkRepetition(arm string, rep Repetition) error {
	switch {
	case rep.Number < 1 || rep.Order < 1:
		return invalid("arm %s: number %d, order %d must be from 1", arm, rep.Number, rep.Order)
	case !slices.Contains([]string{OK, Failed, Invalid}, rep.Status):
		return invalid("arm %s repetition %d: status %q", arm, rep.Number, rep.Status)
	case (rep.Status == OK) != (rep.Problem == ""):
		return invalid("arm %s repetition %d: status %q with problem %q", arm, rep.Number, rep.Status, rep.Problem)
	case rep.Status == OK && len(rep.Values) == 0:
		return invalid("arm %s repetition %d: ok without a value", arm, rep.Number)
	case !finite(rep.Seconds) || rep.Seconds < 0:
		return invalid("arm %s repetition %d: seconds %v", arm, rep.Number, rep.Seconds)
	}
	for name, v := range rep.Values {
		if _, ok := r.Unit(name); !ok {
			return invalid("arm %s repetition %d: %q has no declared unit", arm, rep.Number, name)
		}
		if !finite(v) {
			return invalid("arm %s repetition %d: %s is %v", arm, rep.Number, name, v)
		}
	}
	return nil
}

func (r *Run) checkVerdict() error {
	results := []string{OK, Failed, Invalid, Unclear}
	if !slices.Contains(results, r.Verdict.Result) || r.Verdict.Text == "" {
		return invalid("verdict %q with text %q", r.Verdict.Result, r.Verdict.Text)
	}
	for _, t := range r.Verdict.Targets {
		if !slices.Contains(results, t.Result) {
			return invalid("target %s: result %q", t.Name, t.Result)
		}
		if _, ok := r.Unit(t.Measure); !ok {
			return invalid("target %s: %q has no declared unit", t.Name, t.Measure)
		}
		if r.Arm(t.Arm) == nil || t.Against != "" && r.Arm(t.Against) == nil {
			return invalid("target %s: arm %q or %q is not in the run", t.Name, t.Arm, t.Against)
		}
		for _, v := range []float64{t.AtLeast, t.AtMost, t.Ratio, t.Value, t.Low, t.High, t.Coverage} {
			if !finite(v) {
				return invalid("target %s: %v", t.Name, v)
			}
		}
	}
	if err := r.checkFactors(); err != nil {
		return err
	}
	return r.checkFits()
}

func (r *Run) checkFits() error {
	for _, f := range r.Verdict.Fits {
		vs := []float64{f.Lambda, f.Sigma, f.Kappa, f.Confidence, f.Peak}
		for _, ends := range []*[2]float64{f.SigmaRange, f.KappaRange} {
			if ends != nil {
				vs = append(vs, ends[:]...)
			}
		}
		for _, res := range f.Residuals {
			vs = append(vs, res.Producers, res.Value)
		}
		for _, v := range vs {
			if !finite(v) {
				return invalid("fit of %s: %v", f.Path, v)
			}
		}
	}
	return nil
}

func (r *Run) checkFactors() error {
	for _, f := range r.Verdict.Factors {
		if _, ok := r.Unit(f.Measure); !ok || f.Name == "" {
			return invalid("factor %q: %q has no declared unit", f.Name, f.Measure)
		}
		if r.Arm(f.Arm) == nil || r.Arm(f.Against) == nil {
			return invalid("factor %s: arm %q or %q is not in the run", f.Name, f.Arm, f.Against)
		}
		for _, v := range []float64{f.Ratio, f.Low, f.High, f.Coverage, f.Claimed} {
			if !finite(v) {
				return invalid("factor %s: %v", f.Name, v)
			}
		}
	}
	return nil
}

// Place is the first absolute path in a text of a configuration, "" where there is none. A
// result that holds one is not valid.
func Place(text string) string {
	for _, found := range placeForm.FindStringSubmatch(text) {
		if strings.HasPrefix(found, "/") {
			return found
		}
	}
	return ""
}

// checkPlaces refuses absolute paths anywhere in a free-form value: a result is
// public and must not say where it was made.
func checkPlaces(where string, v any) error {
	switch v := v.(type) {
	case string:
		if place := Place(v); place != "" {
			return invalid("%s holds the absolute path %q", where, place)
		}
	case map[string]any:
		for key, sub := range v {
			if err := checkPlaces(where+"."+key, sub); err != nil {
				return err
			}
		}
	case []any:
		for i, sub := range v {
			if err := checkPlaces(fmt.Sprintf("%s[%d]", where, i), sub); err != nil {
				return err
			}
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
