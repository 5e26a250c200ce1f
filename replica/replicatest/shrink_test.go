package replicatest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What fails for two faults of forty is told with those two, and what fails in another
// way meanwhile does not lead astray.
func TestShrinkKeepsWhatItTakes(t *testing.T) {
	tries := 0
	play := func(opt Options) Result {
		tries++
		var r Result
		for n := 1; n <= 40; n++ {
			r.Faults = append(r.Faults, Fault{N: n, Spared: opt.Spare[n]})
		}
		switch {
		case !opt.Spare[7] && !opt.Spare[31]:
			r.Err = &Violation{Rule: "I1"}
		case !opt.Spare[7]:
			r.Err = &Violation{Rule: "I15"}
		}
		return r
	}
	got := Shrink(Options{}, play(Options{}), 200, play)
	require.Equal(t, []int{7, 31}, struckBy(got))
	require.Equal(t, "I1", ruleOf(got.Err))
	require.Less(t, tries, 100)

	tries = 0
	Shrink(Options{}, play(Options{}), 5, play)
	require.Equal(t, 6, tries)
}
