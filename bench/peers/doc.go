// Command dyno-peers drives other projects' logs through the same cells as
// dyno's own, so that their figures stand in the same run on the same machine.
// It is a module of its own: what it needs never becomes a dependency of dyno.
//
// It is a measuring child (see dyno/bench/cell): it answers one request on
// standard input and ends. With the argument `versions` it prints the versions
// of the peers as one JSON object instead.
//
// The peers run with the options their projects ship. What a peer's interface
// demands of its callers is written at its adapter: etcd.go, raftwal.go.
package main
