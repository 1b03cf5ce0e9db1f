package gate

import (
	"fmt"
	"strings"

	"dyno/bench/replay"
)

// Rules of lane x, for each counter of a replay:
//
//	calls, messages                  one more fails
//	bytes                            more than 0.1 % more fails
//	allocations, and their bytes     more than 1 % and more than a floor fails
//	                                 (replay.AllocShare and following)
//	bytes that are kept              more than a floor fails (replay.KeptFloor)
//	less                             is told: the baseline is to be written anew
//	worse, within a waiver           is told
//	repeats that do not agree        not judged, and named; of fsyncs, wal-bytes,
//	                                 raft-messages and raft-bytes: UNMEASURABLE
//	allocations by another Go        not judged, and said
//
// UNMEASURABLE is also what cannot be compared: another workload, or a counter that
// the base has and head has not. No percentage excuses another: a counter that falls
// does not pay for one that rises.
const bytesTolerance = 0.001

// writeAnew is how a baseline is brought up to date.
const writeAnew = "dyno gate --lane x --write-baseline"

// Counters are the two sides of a comparison.
type Counters struct {
	BaseName, HeadName string
	Base, Head         *replay.Set
	Unequal            []replay.Unequal // of replay.Merge, of either side
	Waivers            []Waiver
}

// JudgeCounters compares two sets of counters by the rules above.
func JudgeCounters(in Counters) *Report {
	x := &xlane{Counters: in, unequal: map[string]replay.Unequal{}, waivers: map[string]*Waiver{}}
	x.r = &Report{Schema: ReportSchema, Lane: "x", Base: side(in.BaseName, in.Base), Head: side(in.HeadName, in.Head)}
	for _, u := range in.Unequal {
		x.unequal[u.Name] = u
	}
	for i := range in.Waivers {
		x.waivers[in.Waivers[i].Metric] = &in.Waivers[i]
	}
	if in.Base.Workload != in.Head.Workload {
		x.r.Verdict = Unmeasurable
		x.r.Text = fmt.Sprintf("the base has another workload (%s) than head (%s); %s", in.Base.Workload, in.Head.Workload, writeAnew)
		return x.r
	}
	x.judge()
	x.conclude()
	return x.r
}

// Moved says what a baseline has otherwise than an earlier one, a line for each
// counter: who writes a baseline anew allows what it says, without a waiver.
func Moved(was, now *replay.Set) (lines []string) {
	r := JudgeCounters(Counters{BaseName: "was", HeadName: "now", Base: was, Head: now})
	if len(r.Rows) == 0 {
		return []string{r.Text}
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		switch {
		case row.Base == nil:
			lines = append(lines, fmt.Sprintf("%s is new: %s %s", row.Name, digits(*row.Head), row.Unit))
		case row.Head == nil:
			lines = append(lines, row.Name+" is counted no more")
		case row.Verdict == Fail || row.Verdict == Improved:
			lines = append(lines, fmt.Sprintf("%s from %s to %s %s (%s)", row.Name, digits(*row.Base), digits(*row.Head), row.Unit, row.change()))
		}
	}
	return lines
}

func side(name string, s *replay.Set) Side {
	return Side{Name: name, Commit: s.Commit.Hash, Dirty: s.Commit.Dirty, Go: s.Go + " " + s.Arch}
}

// xlane is one comparison.
type xlane struct {
	Counters
	r       *Report
	unequal map[string]replay.Unequal
	waivers map[string]*Waiver
	missing []string
	core    []string // of them unequal
}

func (x *xlane) judge() {
	for i := range x.Base.Counters {
		base := &x.Base.Counters[i]
		if _, ok := x.unequal[base.Name]; ok {
			continue // below
		}
		head := x.Head.Find(base.Name)
		if head == nil {
			x.missing = append(x.missing, base.Name)
			v := base.Value()
			m, _ := base.Metric()
			x.row(Row{Name: base.Name, Unit: m.Unit, Base: &v, Verdict: Unmeasurable, Note: "head does not count it"})
			continue
		}
		x.compare(base, head)
	}
	for i := range x.Head.Counters {
		if head := &x.Head.Counters[i]; x.Base.Find(head.Name) == nil {
			if _, ok := x.unequal[head.Name]; ok {
				continue
			}
			v := head.Value()
			m, _ := head.Metric()
			x.row(Row{Name: head.Name, Unit: m.Unit, Head: &v, Verdict: Advisory, Note: "new: the base does not have it; " + writeAnew})
		}
	}
	for _, u := range x.Unequal {
		c := replay.Counter{Name: u.Name}
		m, _ := c.Metric()
		x.row(Row{Name: u.Name, Unit: m.Unit, Verdict: Quarantined, Note: fmt.Sprintf("repeats do not agree: %d", u.Counts)})
		if u.Core {
			x.core = append(x.core, u.Name)
		}
	}
	if other := x.otherGo(); other != "" {
		x.r.Notes = append(x.r.Notes, "allocations are not judged: "+other+"; "+writeAnew)
	}
}

func (x *xlane) row(r Row) { x.r.Rows = append(x.r.Rows, r) }

// otherGo says what makes allocations incomparable, "" if nothing does.
func (x *xlane) otherGo() string {
	switch {
	case x.Base.Go != x.Head.Go:
		return fmt.Sprintf("the base is of %s, head of %s", x.Base.Go, x.Head.Go)
	case x.Base.Arch != x.Head.Arch:
		return fmt.Sprintf("the base is of %s, head of %s", x.Base.Arch, x.Head.Arch)
	}
	return ""
}

// compare judges one counter.
func (x *xlane) compare(base, head *replay.Counter) {
	m, _ := base.Metric()
	b, h := base.Value(), head.Value()
	row := Row{Name: base.Name, Unit: m.Unit, Base: &b, Head: &h, Verdict: Pass}
	if b > 0 {
		change := h/b - 1
		row.Change = &change
	} else if h == 0 {
		row.Change = new(float64)
	}
	switch {
	case m.Kind == replay.Alloc && x.otherGo() != "":
		row.Verdict = Advisory
	case exceeds(m, base, head):
		row.Verdict, row.Note = Fail, m.Blind
		x.waive(&row, b, h)
	case exceeds(m, head, base):
		row.Verdict, row.Note = Improved, writeAnew
	}
	x.row(row)
}

// exceeds says whether head is above base by more than the metric's tolerance.
func exceeds(m replay.Metric, base, head *replay.Counter) bool {
	switch m.Kind {
	case replay.Alloc:
		return replay.Exceeds(base, head)
	case replay.Bytes:
		return head.Value() > base.Value()*(1+bytesTolerance)
	}
	return head.Value() > base.Value()
}

// waive applies the waiver of a row that fails, if there is one.
func (x *xlane) waive(row *Row, base, head float64) {
	w := x.waivers[row.Name]
	if w == nil {
		return
	}
	day := w.Expires.Format("2006-01-02")
	if limit := w.limit(base); head > limit {
		row.Note = fmt.Sprintf("a waiver until %s allows %s: %s", day, digits(limit), w.Reason)
		return
	}
	row.Verdict, row.Note = Waived, fmt.Sprintf("until %s: %s", day, w.Reason)
}

func (x *xlane) conclude() {
	var failed, worst []string
	for i := range x.r.Rows {
		if r := &x.r.Rows[i]; r.Verdict == Fail {
			failed = append(failed, r.Name)
			worst = append(worst, r.Name+" "+r.change())
		}
	}
	const namesMax = 5
	switch {
	case len(x.core) > 0:
		x.r.Verdict = Unmeasurable
		x.r.Text = "the replay does not do the same each time, which is a fault of the replay: " + strings.Join(x.core, ", ")
	case len(x.missing) > 0:
		x.r.Verdict = Unmeasurable
		x.r.Text = fmt.Sprintf("head does not count what the base has: %s; if that is meant, %s", strings.Join(x.missing, ", "), writeAnew)
	case len(failed) > 0:
		x.r.Verdict = Fail
		x.r.Text = fmt.Sprintf("%d of %d counters rose: %s", len(failed), len(x.r.Rows), strings.Join(worst[:min(len(worst), namesMax)], ", "))
		if len(worst) > namesMax {
			x.r.Text += fmt.Sprintf(" and %d more", len(worst)-namesMax)
		}
	default:
		x.r.Verdict = Pass
		x.r.Text = x.passed()
	}
}

// passed says how much of the set was judged.
func (x *xlane) passed() string {
	judged := len(x.r.Rows)
	var also []string
	for _, v := range []Verdict{Improved, Waived, Advisory, Quarantined} {
		n := x.r.count(v)
		if v == Advisory || v == Quarantined {
			judged -= n
		}
		if n > 0 {
			also = append(also, fmt.Sprintf("%d %s", n, strings.ToLower(string(v))))
		}
	}
	text := fmt.Sprintf("%d counters judged, none above what is allowed", judged)
	if len(also) > 0 {
		text += "; " + strings.Join(also, ", ")
	}
	if x.r.count(Improved) > 0 {
		text += "; bring the baseline up to date: " + writeAnew
	}
	return text
}
