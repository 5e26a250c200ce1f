//go:build race

package replicatest

// quickSeeds is how many seeds a plain test run plays. The race detector finds nothing
// in one goroutine, and takes its time.
const quickSeeds = 20
