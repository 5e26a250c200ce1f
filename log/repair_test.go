package log_test

import (
	"io"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// closedLog returns a disk with a log of several segments that was closed, and what
// it holds.
func closedLog(t *testing.T) (*logtest.Disk, []string) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 50)
	_, err := l.Flush()
	require.NoError(t, err)
	want := values(t, l, 0)
	require.NoError(t, l.DeleteBefore(22))
	require.NoError(t, l.Close())
	return d, want
}

func sizeOf(t *testing.T, d log.FS, name string) int64 {
	f, err := d.Open("d/" + name)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	return size
}

func bytesOf(t *testing.T, d log.FS, name string) []byte {
	b := make([]byte, sizeOf(t, d, name))
	f, err := d.Open("d/" + name)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.ReadAt(b, 0)
	if err != nil {
		require.ErrorIs(t, err, io.EOF)
	}
	return b
}

func TestVerifyOfASoundLog(t *testing.T) {
	d, want := closedLog(t)
	before := d.Mutations()
	r, err := log.Verify(d, "d")
	require.NoError(t, err)
	require.Empty(t, r.Damage)
	require.Empty(t, r.Hints)
	require.Equal(t, log.Offset(100), r.End)
	require.Equal(t, log.Offset(22), r.Start)
	require.Len(t, want, 100)
	require.Equal(t, before, d.Mutations())
	repaired, err := log.Repair(d, "d", smallSegments)
	require.NoError(t, err)
	require.Equal(t, log.Repairs{End: 100}, repaired)
	require.Equal(t, before, d.Mutations())
}

// Whatever single byte of whatever file is damaged, Verify sees it, and Repair makes
// a log that opens and holds a prefix of what was there.
func TestVerifySeesAnyDamageAndRepairKeepsThePrefix(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	for range 400 {
		d, want := closedLog(t)
		names := slices.DeleteFunc(files(t, d, ""), func(n string) bool { return sizeOf(t, d, n) == 0 })
		name := names[rng.Intn(len(names))]
		at := rng.Int63n(sizeOf(t, d, name))
		what := "bit"
		if rng.Intn(4) == 0 {
			what = "cut"
			f, err := d.Open("d/" + name)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(at))
		} else {
			require.NoError(t, d.FlipBit("d/"+name, at, uint(rng.Intn(8))))
		}
		r, err := log.Verify(d, "d")
		if err != nil {
			require.ErrorIs(t, err, log.ErrNewer, "%s of %s at %d", what, name, at)
			continue
		}
		if name == "flushed" && len(r.Damage) == 0 {
			continue // the other slot has it
		}
		active := files(t, d, ".log")[len(files(t, d, ".log"))-1]
		if len(r.Damage) == 0 && (name == active[:20]+".index" || name == active[:20]+".timeindex") {
			continue // those of the newest segment are the flushed end's to judge
		}
		require.NotEmpty(t, append(r.Damage, r.Hints...), "%s of %s at %d", what, name, at)

		whole := bytesOf(t, d, name)
		repaired, err := log.Repair(d, "d", smallSegments)
		require.NoError(t, err, "%s of %s at %d", what, name, at)
		l, rec, err := log.Open(d, "d", smallSegments)
		require.NoError(t, err, "%s of %s at %d", what, name, at)
		require.Equal(t, len(r.Damage) > 0, rec.Lost)
		require.Equal(t, repaired.End, l.End())
		got := values(t, l, l.Start())
		require.Equal(t, append([]string{}, want[l.Start():l.End()]...), append([]string{}, got...))
		if len(repaired.Aside) > 0 && repaired.Aside[len(repaired.Aside)-1] == name+".damaged" {
			require.Equal(t, whole, bytesOf(t, d, name+".damaged"), "nothing is thrown away")
		}
		fill(t, l, 3)
		require.NoError(t, l.Close())
		r, err = log.Verify(d, "d")
		require.NoError(t, err)
		require.Empty(t, r.Damage)
	}
}

func TestRepairSurvivesACrashAtEveryChangeOfTheDisk(t *testing.T) {
	for _, mode := range crashModes {
		for n := 1; ; n++ {
			d, want := closedLog(t)
			require.NoError(t, d.FlipBit("d/"+files(t, d, ".log")[2], 200, 3))
			require.NoError(t, d.FlipBit("d/leader-epoch-checkpoint", 20, 3))
			_, _, err := log.Open(d, "d", smallSegments)
			require.ErrorIs(t, err, log.ErrCorrupt)
			d.Crash(n)
			if _, err := log.Repair(d, "d", smallSegments); err == nil {
				break
			}
			if mode == "killed" {
				d.Revive()
			} else {
				require.NoError(t, d.PowerFail(rand.New(rand.NewSource(int64(n)))))
			}
			repaired, err := log.Repair(d, "d", smallSegments)
			require.NoError(t, err, "%s, change %d", mode, n)
			l, _, err := log.Open(d, "d", smallSegments)
			require.NoError(t, err, "%s, change %d", mode, n)
			require.Equal(t, repaired.End, l.End())
			got := values(t, l, l.Start())
			require.Greater(t, len(got), 4)
			require.Equal(t, append([]string{}, want[l.Start():l.End()]...), append([]string{}, got...))
			require.NoError(t, l.Close())
		}
	}
}

// A compaction that a crash has cut short is completed before anything is set aside: what
// it was made from is as good as gone.
func TestARepairBesideAnUnfinishedCompaction(t *testing.T) {
	for n := 1; ; n++ {
		d := logtest.NewDisk(log.NewMemFS())
		k := newKeyedLog(t, open(t, d, "d", compactSegments), 3)
		k.write(80)
		d.Inject(logtest.Fault{Op: logtest.Rename, Name: "*.log", Nth: n, Err: errDied})
		_, err := k.compact(20_000, log.CompactConfig{UpTo: k.End()})
		_ = k.Close()
		d.Revive()
		if err == nil {
			require.Greater(t, n, 5)
			break
		}
		first := files(t, d, ".log")[0]
		swaps := files(t, d, ".swap")
		require.Len(t, swaps, 1)
		if swaps[0] < first {
			first = swaps[0] // it stands for the oldest segments
		}
		require.NoError(t, d.FlipBit("d/"+first, sizeOf(t, d, first)-1, 3))

		r, err := log.Repair(d, "d", compactSegments)
		require.NoError(t, err)
		require.Empty(t, files(t, d, ".swap"))
		require.NotEmpty(t, r.Aside)
		for _, name := range r.Aside {
			require.True(t, strings.HasSuffix(name, ".log.damaged"), name)
		}
		found, err := log.Verify(d, "d")
		require.NoError(t, err)
		require.Empty(t, found.Damage, "rename %d", n)
		k.Log = open(t, d, "d", compactSegments)
		require.Equal(t, r.End, k.End())
		for _, rec := range k.records(k.Start()) {
			require.Equal(t, k.all[rec.Offset], rec)
		}
		require.NoError(t, k.Close())
	}
}
