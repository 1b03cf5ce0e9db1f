package attribute

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// listMax is how many named functions are printed; the written form has all.
const listMax = 10

// Headline is the attribution in a sentence.
func (a *Attribution) Headline() string {
	total := fmt.Sprintf("%+.3f CPU-s per million records (%+.3f to %+.3f) in all", a.Total.More, a.Total.Low, a.Total.High)
	if len(a.Named) == 0 {
		return "no function got slower by more than noise; " + total + ": a change that waits instead of working does not show in a CPU profile"
	}
	f := &a.Named[0]
	of := ""
	if f.Share > 0 {
		of = ", " + f.share() + " of the rise"
	}
	return fmt.Sprintf("%s got slower by %.3f CPU-s per million records%s; %s", f.Name, f.Rose.More, of, total)
}

// share is Share for people.
func (f *Function) share() string {
	if f.Share <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*f.Share)
}

// notes are what a row has no column for.
func (f *Function) notes() string {
	var notes []string
	if f.Was != "" {
		notes = append(notes, "was "+f.Was)
	}
	if f.Deep {
		notes = append(notes, "with what it calls")
	}
	for _, p := range f.In {
		notes = append(notes, fmt.Sprintf("in %s %+.3f", p.Name, p.More))
	}
	if f.From != "" {
		notes = append(notes, "from "+f.From)
	}
	if len(f.Against) > 0 {
		notes = append(notes, "less the fall of "+strings.Join(f.Against, ", "))
	}
	return strings.Join(notes, "; ")
}

// rows calls row for each function that is printed.
func (a *Attribution) rows(row func(f *Function)) (left int) {
	for i := range a.Named[:min(len(a.Named), listMax)] {
		row(&a.Named[i])
	}
	return max(0, len(a.Named)-listMax)
}

// tail are the sentences below the table.
func (a *Attribution) tail(left int) (lines []string) {
	if left > 0 {
		lines = append(lines, fmt.Sprintf("%d more are in verdict.json.", left))
	}
	for _, s := range a.Shifted {
		if len(s.From) > 0 {
			lines = append(lines, fmt.Sprintf("Not blamed: %.3f moved from %s to %s.", s.Rose, strings.Join(s.From, ", "), s.To))
		}
	}
	for _, r := range a.Renamed {
		lines = append(lines, fmt.Sprintf("Compared as one: %s, now %s.", r.Was, r.Now))
	}
	return append(lines, fmt.Sprintf("From the CPU profiles of %d further blocks (%s), %d comparisons; of the functions named, %.0f %% are expected to be so by chance.",
		a.Blocks, a.Phase, a.Tested, 100*FalseDiscoveries))
}

// Table is the attribution as cells: a row for each function that is printed, one for
// all CPU time, and the sentences that belong below. The caller owns what it gets.
func (a *Attribution) Table() (head []string, rows [][]string, below []string) {
	head = []string{"function", "base, CPU-s/M", "head", "more", "interval", "of the rise", "q", "notes"}
	row := func(name string, c *Change, share, q, notes string) {
		rows = append(rows, []string{name, fmt.Sprintf("%.3f", c.Base), fmt.Sprintf("%.3f", c.Head), fmt.Sprintf("%+.3f", c.More),
			fmt.Sprintf("%+.3f to %+.3f", c.Low, c.High), share, q, notes})
	}
	left := a.rows(func(f *Function) { row(f.Name, &f.Rose, f.share(), fmt.Sprintf("%.2g", f.Q), f.notes()) })
	row("all CPU time", &a.Total, "", "", "")
	return head, rows, a.tail(left)
}

// WriteText writes the attribution for people.
func (a *Attribution) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "where: %s\n", a.Headline())
	left := 0
	if len(a.Named) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "  CPU-s/M\tinterval\tof rise\tq\tfunction\n")
		left = a.rows(func(f *Function) {
			fmt.Fprintf(t, "  %+.3f\t%+.3f to %+.3f\t%s\t%.2g\t%s\n", f.Rose.More, f.Rose.Low, f.Rose.High, f.share(), f.Q, f.Name)
			if notes := f.notes(); notes != "" {
				fmt.Fprintf(t, "\t\t\t\t  %s\n", notes)
			}
		})
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, line := range a.tail(left) {
		if _, err := fmt.Fprintf(w, "  %s\n", line); err != nil {
			return err
		}
	}
	return nil
}

// WriteMarkdown writes the attribution for a pull request.
func (a *Attribution) WriteMarkdown(w io.Writer) error {
	fmt.Fprintf(w, "#### Where\n\n%s.\n\n", escape(a.Headline()))
	left := 0
	if len(a.Named) > 0 {
		fmt.Fprintf(w, "| function | CPU-s per million records | interval | of the rise | q | |\n|---|---:|---:|---:|---:|---|\n")
		left = a.rows(func(f *Function) {
			fmt.Fprintf(w, "| `%s` | %+.3f | %+.3f to %+.3f | %s | %.2g | %s |\n", f.Name, f.Rose.More, f.Rose.Low, f.Rose.High, f.share(), f.Q, escape(f.notes()))
		})
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%s\n", escape(strings.Join(a.tail(left), " ")))
	return err
}

// escape keeps names of methods from being read as emphasis.
func escape(s string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "|", `\|`, "<", `\<`).Replace(s)
}
