package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// reporter tells how far a lab is: one line that is drawn over itself on a
// terminal, one JSON object per line otherwise. It is used by one goroutine.
type reporter struct {
	w        io.Writer
	terminal bool
	started  time.Time
	total    int           // steps in all
	done     int           // steps finished
	timed    int           // of those, the ones this invocation ran
	spent    time.Duration // in finished steps
	width    int           // of the line on the terminal now
	last     time.Time     // when something was told last
	where    string        // name and phase told last
}

// news is one line of progress for programs.
type news struct {
	Step    int     `json:"step"` // from 1
	Of      int     `json:"of"`
	Name    string  `json:"name"`
	Phase   string  `json:"phase"`
	Text    string  `json:"text,omitempty"`
	Elapsed float64 `json:"elapsed_s"`
	Left    float64 `json:"left_s,omitempty"` // estimate for the whole lab; absent before the first step is done
}

// quietEvery bounds how often JSON lines repeat within one phase.
const quietEvery = 5 * time.Second

func newReporter(w io.Writer, terminal bool, total int) *reporter {
	return &reporter{w: w, terminal: terminal, started: time.Now(), total: total}
}

// say tells where the lab is. Lines for programs are thinned within a phase.
func (r *reporter) say(name, phase, text string) {
	now := time.Now()
	n := news{Step: r.done + 1, Of: r.total, Name: name, Phase: phase, Text: text,
		Elapsed: math.Round(now.Sub(r.started).Seconds()), Left: math.Round(r.left().Seconds())}
	if r.terminal {
		line := fmt.Sprintf("[%d/%d] %s: %s", n.Step, n.Of, name, phase)
		if text != "" {
			line += ", " + text
		}
		if n.Left > 0 {
			line += fmt.Sprintf(", about %s left", r.left().Round(time.Second))
		}
		r.draw(line)
		return
	}
	where := name + "\x00" + phase
	if where == r.where && now.Sub(r.last) < quietEvery {
		return
	}
	r.last, r.where = now, where
	raw, err := json.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("BUG: progress does not encode: %v", err))
	}
	fmt.Fprintf(r.w, "%s\n", raw)
}

// step counts one finished step and how long it took.
func (r *reporter) step(took time.Duration) {
	r.done++
	r.timed++
	r.spent += took
}

// skip counts a step that an earlier invocation has done.
func (r *reporter) skip() { r.done++ }

// left estimates the time until the end from the mean of the finished steps.
func (r *reporter) left() time.Duration {
	if r.timed == 0 {
		return 0
	}
	return r.spent / time.Duration(r.timed) * time.Duration(r.total-r.done)
}

// clear takes the line off the terminal, so that a report can follow.
func (r *reporter) clear() {
	if r.terminal && r.width > 0 {
		r.draw("")
		fmt.Fprint(r.w, "\r")
	}
}

// draw replaces the line on the terminal. Source: ECMA-48, CSI K erases to the end.
func (r *reporter) draw(line string) {
	const widest = 110
	if runes := []rune(line); len(runes) > widest {
		line = string(runes[:widest-1]) + "…"
	}
	fmt.Fprintf(r.w, "\r\x1b[K%s", line)
	r.width = len(line)
}
