//go:build !race

package replicatest

// quickSeeds is how many seeds a plain test run plays.
const quickSeeds = 150
