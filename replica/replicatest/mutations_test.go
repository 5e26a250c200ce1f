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

// mistakes are those that seeds must find, drawn as for a sound cluster.
var mistakes = []struct {
	name   string
	must   bool // the rest are found by tests of their own
	events int
}{
	{name: "KIP-101", must: true},
	{name: "KIP-279", must: true},
	{name: "KIP-320"},
	{name: "KIP-320 acks"},
	{name: "KAFKA-7128", must: true},
	{name: "KAFKA-7415"},
	{name: "KAFKA-10706"},
	{name: "KAFKA-13141"},
	{name: "KAFKA-14704", must: true},
	{name: "KAFKA-9491"},
	{name: "KIP-497", must: true},
	{name: "KIP-903", must: true},
	{name: "KAFKA-15221", must: true},
	{name: "KIP-966", must: true},
	{name: "KAFKA-16540"},
	{name: "KAFKA-19522"},
	{name: "KAFKA-16541", must: true},
	{name: "stale ack"},
	{name: "fence races ISR", must: true},
	{name: "cut comes back", must: true},
	{name: "flushed end unknown", must: true},
	{name: "all stop at once", must: true},
	{name: "no rescan", must: true},
	{name: "new copy speaks"},
	{name: "vote is not durable", must: true},
	{name: "wiped voter keeps its name", must: true},
}

// Each known mistake is let in again, and seeds are played until one of them breaks an
// invariant. What is found, and after how many, goes into a table beside this file.
func TestMutations(t *testing.T) {
	defer mutate.Set("")
	var table strings.Builder
	for _, m := range mistakes {
		if *mutationName != "" && m.name != *mutationName {
			continue
		}
		mutate.Set(m.name)
		begun := time.Now()
		needed, rule := uint64(0), ""
		for seed := uint64(1); seed <= *mutationSeeds && needed == 0; seed++ {
			if r := play(t, Options{Seed: seed}); r.Err != nil {
				needed, rule = seed, r.Err.Error()
			}
		}
		switch {
		case needed > 0:
			fmt.Fprintf(&table, "%-28s %6d  %.90s\n", m.name, needed, rule)
		case m.must:
			t.Errorf("%s is not found in %d seeds", m.name, *mutationSeeds)
			fallthrough
		default:
			fmt.Fprintf(&table, "%-28s      -\n", m.name)
		}
		fmt.Printf("%-28s %6d %8s %.150s\n", m.name, needed, time.Since(begun).Round(time.Millisecond), rule)
	}
	if *mutationName == "" {
		if err := os.WriteFile("testdata/mutations.txt", []byte(table.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}
