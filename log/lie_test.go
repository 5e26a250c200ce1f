package log_test

import (
	"errors"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// lies are the files, by pattern, whose syncs do nothing.
var lies = []string{"", "*.log", "flushed", "*.tmp", "orders-0"}

// A disk that lies about its syncs may lose what it likes. Recovery says what it
// can see of that; what it then serves is what was written there, or an error.
func TestADiskThatLiesAboutItsSyncsIsNotBelievedInSilence(t *testing.T) {
	for _, lie := range lies {
		t.Run("syncs of "+lie, func(t *testing.T) {
			seen := map[string]int{}
			eachSeed(t, share(40), func(t *testing.T, seed int64) {
				w := newWorld(t, seed)
				w.ever = map[string]entry{}
				w.disk.Lie(lie)
				_, err := w.open()
				require.NoError(t, err)
				grows := w.rng.Intn(2) == 0
				for range 20 + w.rng.Intn(100) {
					if grows {
						require.NoError(t, w.take(pick(w.rng, "append", "replicate", "flush", "reopen")))
						continue
					}
					require.NoError(t, w.step())
				}
				require.NoError(t, w.flush())
				require.NoError(t, w.log.Checkpoint())
				w.disk.Fail(errDied)
				_ = w.log.Close()
				require.NoError(t, crashes[1+w.rng.Intn(3)].run(w.disk, w.rng))

				rec, err := w.open()
				if err != nil {
					require.ErrorIs(t, err, log.ErrCorrupt)
					seen["damage seen by Open"]++
					return
				}
				missing, err := w.served()
				switch {
				case err != nil:
					seen["damage seen by Read"]++
				case missing == 0:
					seen["whole"]++
				case rec.Lost:
					seen["loss reported"]++
				default:
					seen["loss in silence"]++
					// The flushed end was synced, and says what must be there, unless old
					// batches are there again that were cut.
					require.False(t, grows && lie == "*.log", "%d batches of %d", missing, len(w.entries))
				}
			})
			t.Log(seen)
		})
	}
}

// pick returns one of the actions that are named.
func pick(rng *rand.Rand, names ...string) action {
	name := names[rng.Intn(len(names))]
	all := actions()
	return all[slices.IndexFunc(all, func(a action) bool { return a.name == name })]
}

// served reads all of the log, of which each batch is one that was written there,
// and returns how many are not there that were flushed, or why it cannot tell.
func (w *world) served() (missing int, err error) {
	here := map[log.Offset]entry{}
	for _, e := range w.entries {
		if e.next <= w.synced {
			here[e.first] = e
		}
	}
	for from := w.log.Start(); from < w.log.End(); {
		data, err := w.log.Read(from, w.log.End(), 1+w.eye.Intn(1000))
		if err != nil {
			require.ErrorIs(w.t, err, log.ErrCorrupt)
			return 0, err
		}
		got := w.decode(data)
		require.NotEmpty(w.t, got)
		for _, e := range got {
			require.Equal(w.t, w.ever[e.value], e, "nobody wrote that there")
			if here[e.first] == e {
				delete(here, e.first)
			}
			from = e.next
		}
	}
	return len(here), nil
}

var errDied = errors.New("died")
