//go:build !race

package log_test

const underRace = false
