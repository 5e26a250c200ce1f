//go:build samsa_mutations

package replicatest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/samsalog/samsa/partition/mutate"
)

var (
	mutationSeeds = flag.Uint64("mutation.seeds", 2000, "how many seeds a mistake may need to be found")
	mutationName  = flag.String("mutation", "", "this mistake alone")
)

// mutationEvents is how long a seed is: most mistakes show after a few failovers, some
// only where three rare things meet.
const mutationEvents = 15_000

// mistakes are let in one after another. Seeds must find those without a test of their
// own, drawn as for a sound cluster. One that has such a test is one that something else
// guards against too: the test reports whether what it looks at is sound.
var mistakes = []struct {
	name string
	test func() bool
}{
	{"KIP-101", nil},
	{"KIP-279", nil},
	{"KIP-320", ignoresLateAnswers},
	{"KIP-320 acks", fencesOldEpochs},
	{"KAFKA-7128", nil},
	{"KAFKA-7415", nil},
	{"KAFKA-10706", nil},
	{"KAFKA-13141", nil},
	{"KAFKA-14704", nil},
	{"KAFKA-9491", nil},
	{"KIP-497", nil},
	{"KIP-903", nil},
	{"KAFKA-15221", nil},
	{"KIP-966", nil},
	{"KAFKA-16540", clearsELR},
	{"KAFKA-19522", nil},
	{"KAFKA-16541", nil},
	{"stale ack", ignoresStaleAcks},
	{"fence races ISR", refusesOldMembers},
	{"cut comes back", nil},
	{"flushed end unknown", nil},
	{"all stop at once", nil},
	{"no rescan", nil},
	{"new copy speaks", nil},
	{"vote is not durable", nil},
	{"wiped voter keeps its name", nil},
}

// Each known mistake is let in again, and seeds are played until one of them breaks an
// invariant. Which one, and after how many seeds, goes into testdata/mutations.txt.
func TestMutations(t *testing.T) {
	defer mutate.Set("")
	var table strings.Builder
	found := 0
	for _, m := range mistakes {
		if *mutationName != "" && m.name != *mutationName {
			continue
		}
		mutate.Set(m.name)
		begun := time.Now()
		needed, rule := uint64(0), ""
		tries := *mutationSeeds
		for seed := uint64(1); seed <= tries && needed == 0; seed++ {
			if r := play(t, Options{Seed: seed, Events: mutationEvents}); r.Err != nil {
				needed, rule = seed, ruleOf(r.Err)
			}
		}
		switch {
		case needed > 0:
			found++
			fmt.Fprintf(&table, "%-28s %6d  %s\n", m.name, needed, rule)
		case m.test == nil:
			t.Errorf("%s is not found in %d seeds", m.name, *mutationSeeds)
		default:
			fmt.Fprintf(&table, "%-28s      -  by a test of its own\n", m.name)
		}
		if m.test != nil && m.test() {
			t.Errorf("%s is not found by its own test", m.name)
		}
		mutate.Set("")
		if m.test != nil && !m.test() {
			t.Errorf("%s: its own test fails without it", m.name)
		}
		t.Logf("%-28s %6d %8s %s", m.name, needed, time.Since(begun).Round(time.Millisecond), rule)
	}
	if *mutationName == "" && 4*found < 3*len(mistakes) {
		t.Errorf("seeds find %d of %d mistakes", found, len(mistakes))
	}
	if *mutationName == "" {
		if err := os.WriteFile("testdata/mutations.txt", []byte(table.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}
