// Package enginetest runs a whole cluster in one process where nothing happens
// by itself: network, disks, clocks and power are in the hands of the test, so
// a story can be told step by step (testdata/*.txt) and a seed is a run
// (Simulate).
//
// It does not replace anything above the disk: each Node is a real
// multiraft.Manager on a real wal.Log, with real partition.Partition state
// machines. What is underneath is ours: the disk is wal/vfs memory that forgets
// what was not synced when its power is cut, the network is transport.Network.
// It has no metadata group and no Kafka front. Who replicates what stands in a
// metadata.State that is always there: Reassign moves replicas, Wipe takes a node's
// disks and readmits it, nodes see it when the test wants (moves.go).
//
// # The caller's duties, in order
//
//  1. Be inside a testing/synctest bubble, on the goroutine that began it, after
//     testing/cryptotest.SetGlobalRandom outside of it: Raft draws its election
//     jitter from crypto/rand.
//  2. New; then stimuli, one at a time: each returns when all is quiet again.
//  3. Look at Violations: what must never happen is checked all the time.
//  4. Close, which lets every goroutine end.
//
// # Why a seed is a run
//
// A node has one worker. A stimulus touches one node: one batch of messages is
// delivered, one node ticks, one append reaches one disk, one proposal is made.
// After it synctest.Wait returns when every goroutine waits for something only
// the test can bring; then the next one is chosen. So no two goroutines of
// different nodes ever race, and the order of everything that shares a source
// of chance (the network's, crypto/rand's) is fixed. What a stimulus puts into a
// mailbox in several pieces is put while the worker is held (Node.atOnce), or it
// would be up to the scheduler how many of them one drain sees.
//
// Between manager and log stands a heldLog: it keeps every append until it is
// passed on. A slow disk, a crash before the sync and a power cut in the middle
// of a write (Node.Tear) are therefore choices of the test.
//
// # What is checked all the time
//
//   - A committed entry is the same on every node, in every life of it.
//   - A term has at most one leader, which leads it in one life.
//   - An answer to acks=all speaks of a committed batch that a majority of the
//     voters hold durably, or of both sides while a change of members is under way,
//     and as many voters as min.insync.replicas asks for; one to acks=1 of a batch in
//     the leader's log.
//   - What a replica takes for the membership is what the committed entries make of it,
//     by rules of the ledger's own (members.go). Nobody is made a voter who lacks much.
//   - A group goes quiet only when every member holds everything.
//   - A high watermark never goes back within a life, and shows nothing that is
//     not committed.
//   - A linearizable read sees what was applied anywhere before it was asked.
//   - No replica is damaged, no log is corrupt, no waiter is told twice.
//
// # Running it
//
//	go test ./engine/enginetest -run TestTranscripts -rewrite   the stories anew
//	DYNO_SIM_SEEDS=1000 go test ./engine/enginetest -run 'TestSim$' -v -timeout 60m
//	DYNO_SIM_SEED=7 DYNO_SIM_TRACE=300 go test ./engine/enginetest -run 'TestSim$' -v
//	go test -tags mutants ./engine/enginetest -run TestSimMutants -v
//
// The second plays so many seeds, the third one of them and shows the end of what
// happened if it fails; DYNO_SIM_ONLY='p3 .*voters|plan|wipe' shows no more than that. TestSimVariants takes the same variables: other numbers of
// nodes, narrow queues, nodes that move entries to files, delete them there and send
// snapshots, replicas that move from node to node, min.insync.replicas above the
// majority, and leases, by clocks that run as fast or as slow as they may.
//
// What clients saw in a run is checked to be linearizable as well
// (linearizable_test.go).
//
// Read next: testdata/basic.txt and new-member.txt, then cluster.go, node.go, ledger.go, moves.go, files.go, sim.go.
package enginetest
