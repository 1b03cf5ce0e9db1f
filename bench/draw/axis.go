package draw

import (
	"math"
	"strconv"
)

// Axis maps values to the length of one side of a chart.
type Axis struct {
	Label    string
	From, To float64 // From < To; both positive where Log
	Log      bool
	Ticks    []Tick // in order
}

// Tick is a labelled place on an axis.
type Tick struct {
	At    float64 // a value
	Label string
}

// share is how far along the axis a value lies, 0 to 1 within it. ok is false where it
// has no place.
func (a Axis) share(v float64) (_ float64, ok bool) {
	from, to := a.From, a.To
	if a.Log {
		if v <= 0 {
			return 0, false
		}
		v, from, to = math.Log(v), math.Log(from), math.Log(to)
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	return (v - from) / (to - from), true
}

// headroom is the share of an axis that stays free above the largest value, so that no
// mark lies on the frame.
const headroom = 0.04

// Linear is an axis with round ticks that holds low to high; low 0 stays its end.
func Linear(label string, low, high float64) Axis {
	span := high - low
	if span <= 0 {
		span = math.Max(math.Abs(high), 1)
	}
	step := roundAbove(span / 5)
	first, last := math.Floor(low/step), math.Ceil(high/step)
	if last*step-high < headroom*span {
		last++
	}
	if first != 0 && low-first*step < headroom*span {
		first--
	}
	a := Axis{Label: label, From: first * step, To: last * step}
	for k := first; k <= last; k++ {
		a.Ticks = append(a.Ticks, Tick{k * step, Short(k * step)})
	}
	return a
}

// decadesOnly is from how many decades on a logarithmic axis names only powers of ten.
const decadesOnly = 2.5

// Log is a logarithmic axis that holds low to high, both positive.
func Log(label string, low, high float64) Axis {
	a := Axis{Label: label, Log: true, From: roundBelow(low), To: roundAbove(high * (1 + headroom))}
	plain := math.Log10(a.To/a.From) >= decadesOnly
	if plain {
		a.From = decadeBelow(a.From)
		for a.To = a.From; a.To < high*(1+headroom); a.To *= 10 {
		}
	}
	for v := a.From; v <= a.To*1.001; {
		a.Ticks = append(a.Ticks, Tick{v, Short(v)})
		if plain {
			v *= 10
		} else {
			v = roundAbove(v * 1.01)
		}
	}
	return a
}

// Powers is a logarithmic axis from low to high whose ticks are low times powers of
// base.
func Powers(label string, low, high, base float64) Axis {
	a := Axis{Label: label, Log: true, From: low / 1.15, To: high * 1.15}
	for v := low; v <= high*1.001; v *= base {
		a.Ticks = append(a.Ticks, Tick{v, Short(v)})
	}
	return a
}

func decadeBelow(v float64) float64 {
	return math.Pow(10, math.Floor(math.Log10(v)+1e-9))
}

// roundAbove is the next of 1, 2, 5 times a power of ten, v itself included.
func roundAbove(v float64) float64 {
	d := decadeBelow(v)
	for _, m := range []float64{1, 2, 5} {
		if m*d >= v*(1-1e-9) {
			return m * d
		}
	}
	return 10 * d
}

// roundBelow is the one before, v itself included.
func roundBelow(v float64) float64 {
	d := decadeBelow(v)
	for _, m := range []float64{5, 2} {
		if m*d <= v*(1+1e-9) {
			return m * d
		}
	}
	return d
}

// Short writes three digits at most, 1500000 as 1.5M, and never an exponent.
func Short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 999.5e6:
		return digits(v/1e9) + "G"
	case a >= 999.5e3:
		return digits(v/1e6) + "M"
	case a >= 9995:
		return digits(v/1e3) + "k"
	case a >= 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return digits(v)
}

func digits(v float64) string {
	const significant = 3
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v+0, 'f', -1, 64)
	}
	scale := math.Pow(10, significant-1-math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(math.Round(v*scale)/scale, 'f', -1, 64)
}
