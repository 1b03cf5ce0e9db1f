package bench

import (
	"cmp"
	"slices"

	"dyno/bench/draw"
	"dyno/bench/record"
)

// Parameters of arms that are offered a share of what their system takes at most.
const (
	paramSystem = "system" // the line of a plot
	paramShare  = "share"  // percent
)

// responses are the quantiles that are drawn over a rate.
var responses = []struct{ measure, word string }{{"response_p50", "p50"}, {"response_p99", "p99"}, {"response_p999", "p99.9"}}

// swept is an arm and the rate that it was offered.
type swept struct {
	arm  *record.Arm
	rate float64 // records/s, the median
}

// sweeps collects the arms that were offered a share of a maximum: by system in order of
// appearance, each in order of rates.
func sweeps(run *record.Run) (systems []string, by map[string][]swept) {
	by = map[string][]swept{}
	for i := range run.Arms {
		arm := &run.Arms[i]
		system, rate := arm.Params[paramSystem], median(run, arm.Name, "offered")
		if arm.Params[paramShare] == "" || rate <= 0 {
			continue
		}
		if by[system] == nil {
			systems = append(systems, system)
		}
		by[system] = append(by[system], swept{arm, rate})
	}
	for _, arms := range by {
		slices.SortFunc(arms, func(a, b swept) int { return cmp.Compare(a.rate, b.rate) })
	}
	return systems, by
}

// ratesSection plots each quantile of the response over the rate that was offered, a
// line a system.
func (p *page) ratesSection() section {
	s := section{ID: "rates", Title: "Response over the rate offered",
		Words: []string{"Medians of the good repetitions. Each system is offered shares of its own maximum, so the lines end at different rates; above the maximum the backlog grows, and the response is as long as the window."}}
	systems, by := sweeps(p.Run)
	for _, r := range responses {
		plot := draw.Plot{Title: r.word + " over the rate offered", Text: "A line that is flat takes more without making anybody wait longer; it bends where the system is full."}
		var rate, ms span
		for _, system := range systems {
			line := draw.Series{Name: system, Hue: p.hue(system), Line: true, Dots: true}
			for _, o := range by[system] {
				v := median(p.Run, o.arm.Name, r.measure) / 1e6
				if v <= 0 {
					continue
				}
				rate.hold(o.rate)
				ms.hold(v)
				line.Points = append(line.Points, draw.Point{X: o.rate, Y: v})
				plot.Data.Rows = append(plot.Data.Rows, []string{system, o.arm.Params[paramShare], draw.Short(o.rate), draw.Short(v)})
			}
			if len(line.Points) > 0 {
				plot.Series = append(plot.Series, line)
			}
		}
		if !rate.any {
			continue
		}
		plot.Data.Head = []string{"system", "% of its maximum", "offered, records/s", r.word + ", ms"}
		plot.X, plot.Y = valueAxis("records/s offered", rate.low, rate.high), draw.Log("ms", ms.low, ms.high)
		s.Figures = append(s.Figures, plot.Figure())
	}
	return s
}
