// Package samsatest runs whole clusters for the tests of programs that use Samsa,
// and breaks them on purpose.
//
// A [Cluster] is some brokers in this process, joined by a network in memory, each
// on a disk that a test can break: the engine is the one that runs in production.
// [Start] makes one for a test, and closes it at its end; [New] makes one for a
// program.
//
//	cluster := samsatest.Start(t, 3)
//	client := cluster.Client()
//	// ... create a topic, send, consume ...
//	leader, err := cluster.Leader(ctx, "orders", 0)
//	err = cluster.Kill(leader)     // it hands nothing over and tells nobody
//	err = cluster.Restart(ctx, leader)
//	err = cluster.WaitISR(ctx, "orders", 3)
//
// Faults enter only through the file system and the transport that a broker was
// given, so what happens then is what would happen to a user. The waits end the
// sleeping in tests: each returns when what it waits for is so, or ctx ends.
//
// All of it also works within a testing/synctest bubble, where a second takes no time.
package samsatest
