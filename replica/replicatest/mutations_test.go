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
	mutationFirst = flag.Uint64("mutation.first", 1, "the first of these seeds")
	mutationName  = flag.String("mutation", "", "this mistake alone")
)

// mutationEvents is how long a seed is: most mistakes show after a few failovers, some
// only where three rare things meet.
const mutationEvents = 15_000

// mistakes are let in one after another, and seeds must find them, drawn as for a sound
// cluster. Some have a test of their own beside, which reports whether what it looks at is
// sound. One of those is guarded if something else keeps it from doing harm, or if what it
// takes meets so seldom that seeds are not sure to find it.
var mistakes = []struct {
	name    string
	test    func() bool
	guarded bool
}{
	{name: "KIP-101"},
	{name: "KIP-279"},
	{name: "KIP-320", test: ignoresLateAnswers, guarded: true},
	{name: "KIP-320 acks", test: fencesOldEpochs, guarded: true},
	{name: "KAFKA-7128"},
	{name: "KAFKA-7415"},
	{name: "KAFKA-10706"},
	{name: "KAFKA-13141"},
	{name: "KAFKA-14704"},
	{name: "KAFKA-9491"},
	{name: "KIP-497"},
	{name: "KIP-903"},
	{name: "KAFKA-15221"},
	{name: "KIP-966"},
	{name: "KAFKA-16540", test: clearsELR},
	{name: "KAFKA-19522"},
	{name: "KAFKA-16541"},
	{name: "Redpanda 2026-06"},
	{name: "stale ack", test: ignoresStaleAcks},
	{name: "fence races ISR", test: refusesOldMembers},
	{name: "cut comes back"},
	{name: "flushed end unknown"},
	{name: "all stop at once"},
	{name: "no rescan"},
	{name: "new copy speaks", test: newCopiesKeepQuiet},
	{name: "discard first"},
	{name: "discard within the epoch"},
	{name: "old copies stay"},
	{name: "vote is not durable"},
	{name: "wiped voter keeps its name"},
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
		if m.guarded {
			tries /= 20
		}
		for n := uint64(1); n <= tries && needed == 0; n++ {
			opt := Options{Seed: *mutationFirst + n - 1, Events: mutationEvents}
			r := play(t, opt)
			if r.Err == nil {
				continue
			}
			needed, rule = n, ruleOf(r.Err)
			mutate.Set("") // it must be the mistake that breaks it
			if r := play(t, opt); r.Err != nil {
				t.Errorf("seed %d of %d events breaks %v without %s", opt.Seed, opt.Events, r.Err, m.name)
			}
			mutate.Set(m.name)
		}
		switch {
		case needed > 0:
			found++
			fmt.Fprintf(&table, "%-28s %6d  %s\n", m.name, needed, rule)
		case !m.guarded:
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
	if *mutationName == "" && *mutationFirst == 1 {
		if err := os.WriteFile("testdata/mutations.txt", []byte(table.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}
