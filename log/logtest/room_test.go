package logtest_test

import (
	"fmt"
	"math"
	"math/rand"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

func TestAFullDiskTakesWhatFits(t *testing.T) {
	d := newDisk(t)
	create(t, d, "d/other", "1234567890", false)
	f := create(t, d, "d/a", "", false)
	room, err := d.Room("d")
	require.NoError(t, err)
	require.Equal(t, int64(math.MaxInt64), room)
	d.Limit(16)
	room, err = d.Room("d")
	require.NoError(t, err)
	require.EqualValues(t, 6, room)
	n, err := f.WriteAt([]byte("abcd"), 0)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	n, err = f.WriteAt([]byte("efgh"), 4)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 2, n)
	require.Equal(t, "abcdef", contents(t, d, "d/a"))
	n, err = f.WriteAt([]byte("g"), 6)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Zero(t, n)
	n, err = f.WriteAt([]byte("ABCDEF"), 0)
	require.NoError(t, err, "what replaces bytes needs no room")
	require.Equal(t, 6, n)
	require.ErrorIs(t, f.Truncate(7), syscall.ENOSPC)
	require.NoError(t, f.Truncate(6))

	create(t, d, "d/empty", "", false)
	require.NoError(t, d.MkdirAll("d/e"))
	d.LimitNames(true)
	_, err = d.Create("d/new")
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, d.MkdirAll("d/new"), syscall.ENOSPC)
	require.NoError(t, d.MkdirAll("d/e"))
	require.Equal(t, "(none)", contents(t, d, "d/new"))
	create(t, d, "d/other", "", false) // room is made so, too

	n, err = f.WriteAt([]byte("ghijklmnopq"), 6)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 10, n)
	d.Limit(17)
	_, err = f.WriteAt([]byte("q"), 16)
	require.NoError(t, err)
	require.NoError(t, d.Remove("d/a"))
	require.EqualValues(t, 17, d.Used(), "somebody has it open")
	require.NoError(t, f.Close())
	require.Zero(t, d.Used())
	d.Limit(-1)
	create(t, d, "d/b", string(make([]byte, 1000)), false)
}

// What counts is what is there, whatever was done, undone and taken.
func TestTheRoomThatIsUsedIsThatOfTheFiles(t *testing.T) {
	for seed := range int64(30) {
		rng := rand.New(rand.NewSource(seed))
		under := log.NewMemFS()
		require.NoError(t, under.MkdirAll("d"))
		create(t, under, "d/3", "before", true)
		d := logtest.NewDisk(under)
		require.NoError(t, d.SyncDir("d"))
		for range 200 {
			name := fmt.Sprint("d/", rng.Intn(6))
			f, err := d.Open(name)
			if err != nil {
				f = create(t, d, name, "", false)
			}
			switch rng.Intn(7) {
			case 0:
				require.NoError(t, f.Truncate(rng.Int63n(2000)))
			case 1:
				require.NoError(t, d.Rename(name, fmt.Sprint("d/", rng.Intn(6))))
			case 2:
				require.NoError(t, d.Remove(name))
			case 3:
				require.NoError(t, f.Sync())
				require.NoError(t, d.SyncDir("d"))
			case 4:
				require.NoError(t, d.PowerFail(rng))
			default:
				_, err := f.WriteAt(make([]byte, rng.Intn(1500)), rng.Int63n(1500))
				require.NoError(t, err)
			}
			_ = f.Close()
			sum := 0
			names, err := d.ReadDir("d")
			require.NoError(t, err)
			for _, name := range names {
				sum += len(contents(t, d, "d/"+name))
			}
			require.EqualValues(t, sum, d.Used(), "seed %d", seed)
		}
	}
}
