package log_test

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	seedsFlag = flag.Int("log.seeds", 0, "run each random test with this many seeds, from log.first on; 0: its own number")
	firstFlag = flag.Int64("log.first", 0, "the first seed of each random test, as it was printed by one that failed; 0: the time")
)

// eachSeed runs a random test for some seeds, which name the subtests. What fails
// is run again with -log.first and the seed.
func eachSeed(t *testing.T, usual int, run func(t *testing.T, seed int64)) {
	first, n := *firstFlag, *seedsFlag
	if first == 0 {
		first = time.Now().UnixNano()
	}
	if n == 0 {
		n = usual
	}
	for i := range int64(n) {
		seed := first + i
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { run(t, seed) })
	}
}

// long returns n where seeds are asked for, as each commit does, and else a quarter of it:
// what a script costs grows faster than it.
func long(n int) int {
	if *seedsFlag == 0 && share(n) == n {
		return n / 4
	}
	return share(n)
}

// share returns n, or less of it where a test is to be over soon.
func share(n int) int {
	switch {
	case underRace:
		return max(n/20, 1)
	case testing.Short():
		return max(n/5, 1)
	}
	return n
}
