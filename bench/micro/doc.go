// Package micro is what one process of a broker does, measured in a process by
// itself: a batch is decoded, records are appended to the log, a node of a cluster
// of one takes records and gives them back over its own socket. All parts are done
// a little in each of many rounds of some 10 ms, and the process waits for its turn
// before each, so that two processes can be measured side by side.
//
// It does not compare or judge; two commits are compared by running this package
// of each. So it is part of what is measured, and its loops are short: fixed
// numbers of records, requests that were encoded beforehand, a client that does no
// more than count. Figures are CPU seconds of the whole process per million
// records, and the rates that went with them. What the garbage collector takes is
// booked on the part in which it happens to run. A tenth of the rounds at either end is
// left out of a figure: what interrupts a shared machine falls on few of them. So a
// cost that falls on fewer rounds than that is not seen here; lane x counts what is
// allocated, written and synced.
//
// Read next: work.go, node.go.
package micro
