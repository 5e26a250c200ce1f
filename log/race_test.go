//go:build race

package log_test

// underRace: the tests run with the race detector, which makes them slow.
const underRace = true
