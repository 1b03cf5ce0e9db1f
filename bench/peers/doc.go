// Command dyno-peers drives other projects' logs through the same cells as
// dyno's own, so that their figures stand in the same run on the same machine.
// It is a module of its own: what it needs never becomes a dependency of dyno.
//
// It is a measuring child (see dyno/bench/cell): it answers one request on
// standard input and ends. With the argument `versions` it prints the versions
// of the peers as one JSON object instead. `dyno-peers nats` measures NATS
// JetStream by hand; as a child it is the work `nats`, whose spec is a
// natspeer.Config and whose result is a natspeer.Result.
//
// The peers run with the options their projects ship. What a peer's interface
// demands of its callers is written at its adapter: etcd.go, raftwal.go, nats.go.
package main
