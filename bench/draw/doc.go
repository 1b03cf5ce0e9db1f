// Package draw draws the charts of a report: pure functions from values to SVG that
// stands in a page of HTML.
//
// There are two forms. A Plot has two axes, with lines, marks, and bands behind them. A Strip has one axis
// of values and a row for each thing that is compared: every value a ring, the middle a
// diamond, its interval a bar. Both become a Figure, which carries the same in words
// and as a table, for those who cannot see it.
//
// Colours and line styles are classes (see the style sheet of the page), so that light
// and dark are the page's own. A series has a colour, a dash and a shape, so that none
// of them is needed to tell it. Nothing is measured or decided here. Callers give
// finite numbers; on a logarithmic axis what is not positive is left out.
//
// Inside an SVG the plot area has the class "plot" and each mark the class "mark": a
// test finds them in a browser, and no mark lies outside.
package draw
