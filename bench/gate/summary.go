package gate

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table is the report for a terminal: the rows that moved or that something is to be
// said of, or all, and the verdict as the last line.
func (r *Report) Table(all bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "gate, lane %s\nbase: %s\nhead: %s\n\n", r.Lane, r.Base.String(), r.Head.String())
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	shown := 0
	for i := range r.Rows {
		x := &r.Rows[i]
		if x.Still() && !all {
			continue
		}
		if shown++; shown == 1 {
			fmt.Fprintln(t, "metric\tbase\thead\tchange\tverdict")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", x.Name, x.value(x.Base), x.value(x.Head), x.change(), x.Verdict)
	}
	_ = t.Flush() // into memory: it cannot fail
	if rest := len(r.Rows) - shown; rest > 0 {
		fmt.Fprintf(&b, "%d of %d metrics are as they were\n", rest, len(r.Rows))
	}
	for i := range r.Rows {
		if x := &r.Rows[i]; x.Note != "" && (shown > 0 || all) {
			fmt.Fprintf(&b, "%s: %s\n", x.Name, x.Note)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "%s: %s\n", r.Verdict, r.Text)
	return b.Bytes()
}

// JSON is verdict.json. The error is that of a value which JSON does not have.
func (r *Report) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return b.Bytes(), err
}

// Markdown is the report for a pull request: what moved at a glance, the rest folded
// away.
func (r *Report) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "### Gate, lane %s: %s\n\n%s\n\nBase: %s. Head: %s.\n", r.Lane, r.Verdict, cell(r.Text), cell(r.Base.String()), cell(r.Head.String()))
	var moved, still []*Row
	for i := range r.Rows {
		if x := &r.Rows[i]; x.Still() {
			still = append(still, x)
		} else {
			moved = append(moved, x)
		}
	}
	markdownRows(&b, moved)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n- %s", cell(n))
	}
	if len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	if len(still) > 0 {
		fmt.Fprintf(&b, "\n<details><summary>%d of %d metrics are as they were</summary>\n", len(still), len(r.Rows))
		markdownRows(&b, still)
		b.WriteString("\n</details>\n")
	}
	return b.Bytes()
}

func markdownRows(b *bytes.Buffer, rows []*Row) {
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n| metric | base | head | change | verdict |\n|---|---:|---:|---:|---|\n")
	for _, x := range rows {
		verdict := string(x.Verdict)
		if x.Verdict == Fail {
			verdict = "**" + verdict + "**"
		}
		if x.Note != "" {
			verdict += ": " + cell(x.Note)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(x.Name), x.value(x.Base), x.value(x.Head), x.change(), verdict)
	}
}

// cell keeps a text within its cell and its line.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}

// The parts of JUnit's XML that CI systems show.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Failure *junitText `xml:"failure"`
		Error   *junitText `xml:"error"`
		Skipped *junitText `xml:"skipped"`
		Out     string     `xml:"system-out,omitempty"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit is a test case a row, and one for the lane's verdict: a FAIL is a failure,
// UNMEASURABLE an error, what was not judged is skipped.
func (r *Report) JUnit() ([]byte, error) {
	s := junitSuite{Name: "gate lane " + r.Lane}
	s.add(junitCase{Name: "verdict"}, r.Verdict, r.Text)
	for i := range r.Rows {
		x := &r.Rows[i]
		said := fmt.Sprintf("%s → %s (%s)", x.value(x.Base), x.value(x.Head), x.change())
		why := said
		if x.Note != "" {
			why += ": " + x.Note
		}
		s.add(junitCase{Name: x.Name, Out: said}, x.Verdict, why)
	}
	for i := range s.Cases {
		s.Cases[i].Class = "gate." + r.Lane
	}
	out, err := xml.MarshalIndent(&s, "", "  ")
	return fmt.Appendf(nil, "%s%s\n", xml.Header, out), err
}

func (s *junitSuite) add(c junitCase, v Verdict, why string) {
	s.Tests++
	switch v {
	case Fail:
		s.Failures++
		c.Failure = &junitText{why}
	case Unmeasurable:
		s.Errors++
		c.Error = &junitText{why}
	case Inconclusive, Advisory, Quarantined:
		s.Skipped++
		c.Skipped = &junitText{string(v) + ": " + why}
	}
	s.Cases = append(s.Cases, c)
}

// String names a side: how it was asked for, and what it is.
func (s Side) String() string {
	commit := s.Commit
	if len(commit) > shortHash {
		commit = commit[:shortHash]
	}
	if s.Dirty {
		commit += " and changes"
	}
	text := s.Name + ", commit " + commit
	if s.Go != "" {
		text += ", " + s.Go
	}
	return text
}

const shortHash = 12

func (r *Row) value(v *float64) string {
	if v == nil {
		return "-"
	}
	return strings.TrimSpace(digits(*v) + " " + r.Unit)
}

// digits gives five significant digits, or all before the point, without an exponent.
func digits(v float64) string {
	const significant, after = 5, 6 // the second bounds what is next to nothing
	decimals := after
	if v != 0 {
		decimals = min(max(significant-1-int(math.Floor(math.Log10(math.Abs(v)))), 0), after)
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func (r *Row) change() string {
	switch {
	case r.Change == nil && r.Base != nil && r.Head != nil && *r.Head > 0:
		return "from nothing"
	case r.Change == nil:
		return "-"
	case *r.Change == 0:
		return "="
	}
	text := fmt.Sprintf("%+.2f %%", *r.Change*100)
	if r.Interval != nil {
		text += fmt.Sprintf(" [%+.2f, %+.2f]", r.Interval[0]*100, r.Interval[1]*100)
	}
	return text
}
