package logtest_test

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// churn does something to the files of a directory.
func churn(t *testing.T, d *logtest.Disk, rng *rand.Rand) {
	name, to := fmt.Sprint("d/", rng.Intn(5)), fmt.Sprint("d/", rng.Intn(5))
	f, err := d.Open(name)
	if err != nil {
		f = create(t, d, name, name, false)
	}
	defer f.Close()
	switch rng.Intn(6) {
	case 0:
		require.NoError(t, d.Rename(name, to))
	case 1:
		require.NoError(t, d.Remove(name))
	case 2:
		require.NoError(t, f.Sync())
	case 3:
		require.NoError(t, d.SyncDir("d"))
	default:
		_, err := f.WriteAt([]byte(fmt.Sprint(rng.Int63())), rng.Int63n(1200))
		require.NoError(t, err)
	}
}

func all(t *testing.T, d log.FS) map[string]string {
	out := map[string]string{}
	names, err := d.ReadDir("d")
	require.NoError(t, err)
	for _, name := range names {
		if name != "below" {
			out[name] = contents(t, d, "d/"+name)
		}
	}
	return out
}

// A clone is as the disk is, and a crash takes the same of both.
func TestACloneIsTheDiskAndItsUnsyncedPart(t *testing.T) {
	for seed := range int64(100) {
		rng := rand.New(rand.NewSource(seed))
		d := newDisk(t)
		require.NoError(t, d.MkdirAll("d/below/deep"))
		require.NoError(t, create(t, d, "d/below/deep/x", "x", true).Close())
		for range rng.Intn(60) {
			churn(t, d, rng)
		}
		d.Inject(logtest.Fault{Every: 1, Err: errBroken})
		c, err := d.Clone("d", log.NewMemFS())
		require.NoError(t, err)
		d.Revive()
		require.Empty(t, c.Handles())
		require.Equal(t, all(t, d), all(t, c), "seed %d", seed)
		require.Equal(t, d.Used(), c.Used())
		before := all(t, d)
		other, err := d.Clone("d", log.NewMemFS())
		require.NoError(t, err)
		for range 20 { // what befalls one does not befall another
			churn(t, other, rng)
		}
		require.NoError(t, other.PowerFail(rng))
		require.Equal(t, before, all(t, d))

		require.NoError(t, d.PowerFail(rand.New(rand.NewSource(seed))))
		require.NoError(t, c.PowerFail(rand.New(rand.NewSource(seed))))
		require.Equal(t, all(t, d), all(t, c), "seed %d", seed)
		require.Equal(t, contents(t, d, "d/below/deep/x"), contents(t, c, "d/below/deep/x"))
	}
	_, err := newDisk(t).Clone("none", log.NewMemFS())
	require.Error(t, err)
}

func TestADirectoryThatCouldNotBeRemovedIsAsItWas(t *testing.T) {
	d := newDisk(t)
	create(t, d, "d/a", "x", true)
	require.Error(t, d.Remove("d"))
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, "(none)", contents(t, d, "d/a"), "its name was not synced")

	require.NoError(t, create(t, d, "d/b", "x", true).Close())
	require.NoError(t, d.SyncDir("d"))
	require.NoError(t, d.Remove("d/b"))
	require.NoError(t, d.Remove("d"), "a directory that was emptied can go")
	require.NoError(t, d.PowerFail(nil))
	_, err := d.ReadDir("d")
	require.Error(t, err)
}
