package logtest_test

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A file that was renamed over may come back until the directory is synced, and then
// nothing of it is left, on the disk below neither.
func TestASyncOfADirectoryIsTheEndOfWhatWasReplacedThere(t *testing.T) {
	for _, synced := range []bool{false, true} {
		under := log.NewMemFS()
		d := logtest.NewDisk(under)
		require.NoError(t, d.MkdirAll("d"))
		require.NoError(t, d.SyncDir("."))
		require.NoError(t, create(t, d, "d/a", "old", true).Close())
		require.NoError(t, d.SyncDir("d"))
		require.NoError(t, create(t, d, "d/b", "new", true).Close())
		require.NoError(t, d.Rename("d/b", "d/a"))
		if synced {
			require.NoError(t, d.SyncDir("d"))
			require.Equal(t, []string{"new"}, files(t, under))
			require.NoError(t, d.PowerFail(nil))
			require.Equal(t, map[string]string{"a": "new"}, all(t, d))
			continue
		}
		require.Equal(t, []string{"new", "old"}, files(t, under))
		require.NoError(t, d.PowerFail(nil))
		require.Equal(t, map[string]string{"a": "old"}, all(t, d))
		require.Equal(t, []string{"old"}, files(t, under))
	}
}

// files returns what the files of a directory hold, whatever their names, in order.
func files(t *testing.T, under log.FS) []string {
	return slices.Sorted(maps.Values(all(t, under)))
}

// A naming is a directory whose files are told apart by what they hold: what a crash
// leaves of it, what has changed since, and what it is now.
type naming struct {
	synced, now map[string]string
	changes     []renaming
}

type renaming struct{ drop, add, file string }

func (r renaming) apply(names map[string]string) {
	delete(names, r.drop)
	if r.add != "" {
		names[r.add] = r.file
	}
}

func (n *naming) do(r renaming) {
	n.changes = append(n.changes, r)
	r.apply(n.now)
}

func (n *naming) sync(upTo int) {
	for _, r := range n.changes[:upTo] {
		r.apply(n.synced)
	}
	n.changes = n.changes[upTo:]
}

// held returns the files that have a name, or may have one after a crash.
func (n *naming) held() []string {
	held := map[string]bool{}
	for _, names := range []map[string]string{n.synced, n.now} {
		for _, file := range names {
			held[file] = true
		}
	}
	for _, r := range n.changes {
		if r.file != "" {
			held[r.file] = true
		}
	}
	return slices.Sorted(maps.Keys(held))
}

// change makes one call, of the disk and of the model.
func (n *naming) change(t *testing.T, d *logtest.Disk, rng *rand.Rand, serial int) {
	name, to := fmt.Sprint(rng.Intn(4)), fmt.Sprint(rng.Intn(4))
	file := n.now[name]
	switch {
	case file == "":
		file = fmt.Sprint("file ", serial)
		require.NoError(t, create(t, d, "d/"+name, file, true).Close())
		n.do(renaming{"", name, file})
	case rng.Intn(2) == 0:
		require.NoError(t, d.Remove("d/"+name))
		n.do(renaming{name, "", ""})
	case name != to:
		require.NoError(t, d.Rename("d/"+name, "d/"+to))
		n.do(renaming{name, to, file})
	}
}

// Whatever is created, renamed and removed, also while a sync is under way: the disk
// below holds each file that somebody can see, now or after a crash, and no other.
func TestTheDiskBelowHoldsWhatACrashMayBringBackAndNoMore(t *testing.T) {
	for seed := range int64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewSource(seed))
			under := log.NewMemFS()
			require.NoError(t, under.MkdirAll("d"))
			require.NoError(t, create(t, under, "d/0", "file before", true).Close())
			d := logtest.NewDisk(under)
			d.Delay(time.Second)
			n := &naming{synced: map[string]string{"0": "file before"}, now: map[string]string{"0": "file before"}}
			for i := range 300 {
				switch rng.Intn(12) {
				case 0:
					upTo, done := len(n.changes), make(chan error)
					go func() { done <- d.SyncDir("d") }()
					synctest.Wait()
					for j := range rng.Intn(4) {
						n.change(t, d, rng, 1000+4*i+j)
					}
					require.NoError(t, <-done)
					n.sync(upTo)
				case 1:
					share := rng.Intn(2)
					require.NoError(t, d.PowerFailKeeping(float64(share), nil))
					n.sync(share * len(n.changes))
					n.now, n.changes = maps.Clone(n.synced), nil
				case 2:
					copied := log.NewMemFS()
					c, err := d.Clone("d", copied)
					require.NoError(t, err)
					d, under = c, copied
					d.Delay(time.Second)
				default:
					n.change(t, d, rng, i)
				}
				require.Equal(t, n.now, all(t, d), "seed %d, step %d", seed, i)
				require.Equal(t, n.held(), files(t, under), "seed %d, step %d", seed, i)
			}
		})
	}
}
