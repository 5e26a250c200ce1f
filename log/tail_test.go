package log_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

func TestWhatWasReadIsNeverWrittenAgain(t *testing.T) {
	l := open(t, log.NewMemFS(), "d", log.Config{Memory: log.NewMemory(20 << 10)})
	var kept, copies [][]byte
	for i := range 3000 {
		appendTo(t, l, 0, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%300)))
		if i/200%2 == 0 { // so that there are chunks that nobody has read, too
			data, err := l.Read(log.Offset(i), l.End(), 1)
			require.NoError(t, err)
			kept, copies = append(kept, data), append(copies, append([]byte(nil), data...))
		}
	}
	require.Equal(t, copies, kept)
}

func TestAppendTakesNoMemoryWhileNobodyReads(t *testing.T) {
	l := open(t, log.OS(), t.TempDir(), log.Config{Memory: log.NewMemory(64 << 10), IndexInterval: 1 << 20})
	batch := batchOf(strings.Repeat("x", 10_000))
	add := func() {
		_, err := l.Append(0, batch)
		require.NoError(t, err)
	}
	for range 100 {
		add()
	}
	require.Zero(t, testing.AllocsPerRun(500, add))
	data, err := l.Read(l.End()-1, l.End(), 1)
	require.NoError(t, err)
	for range 100 {
		add()
	}
	require.NoError(t, log.Batch(data).Check())
}

// A batch that would fill the tail stays out of it: it is read from the disk,
// between others that come from memory.
func TestBatchesTooLargeForTheTail(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	cfg := log.Config{Memory: log.NewMemory(4000)}
	l := open(t, disk, "d", cfg)
	var want []string
	add := func(epoch log.Epoch, size int) {
		want = append(want, fmt.Sprintf("%d %s", len(want), strings.Repeat("x", size)))
		appendTo(t, l, epoch, want[len(want)-1])
	}
	for _, size := range []int{10, 3000, 20, 30, 5000, 6000, 40} {
		add(0, size)
		require.Equal(t, want, values(t, l, 0))
	}
	add(1, 7000)
	require.Equal(t, want, values(t, l, 0))
	require.Equal(t, want[3:], values(t, l, 3))

	follower := open(t, disk, "follower", cfg)
	data, err := l.Read(0, l.End(), 1<<20)
	require.NoError(t, err)
	for len(data) > 0 {
		end, err := follower.Replicate(data)
		require.NoError(t, err)
		data, err = l.Read(end, l.End(), 1<<20)
		require.NoError(t, err)
	}
	require.Equal(t, want, values(t, follower, 0))

	require.NoError(t, l.Truncate(6))
	require.Equal(t, want[:6], values(t, l, 0))
	require.NoError(t, l.Close())
	l = open(t, disk, "d", cfg)
	require.Equal(t, want[:6], values(t, l, 0))
}

func TestAWriteThatFailsHalfwayThroughALargeBatchLeavesNothing(t *testing.T) {
	errDisk := errors.New("no space left on device")
	for n := 1; n <= 2; n++ {
		disk := logtest.NewDisk(log.NewMemFS())
		l := open(t, disk, "d", log.Config{Memory: log.NewMemory(4000)})
		appendTo(t, l, 0, "a")
		disk.FailNth(logtest.Write, n, errDisk)
		large := strings.Repeat("x", 3000)
		_, err := l.Append(0, batchOf(large))
		require.ErrorIs(t, err, errDisk)
		require.NotErrorIs(t, err, log.ErrFailed)
		require.Equal(t, []string{"a"}, values(t, l, 0))
		appendTo(t, l, 0, "b", large)
		require.Equal(t, []string{"a", "b", large}, values(t, l, 0))
		require.NoError(t, l.Close())
		l = open(t, disk, "d", log.Config{})
		require.Equal(t, []string{"a", "b", large}, values(t, l, 0))
	}
}

func TestReadIntoTakesItsMemoryFromTheCaller(t *testing.T) {
	l := open(t, log.OS(), t.TempDir(), log.Config{Memory: log.NewMemory(4000)})
	for i := range 200 {
		appendTo(t, l, 0, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%7*100)))
	}
	appendTo(t, l, 0, strings.Repeat("x", 10_000), "last")
	buf := make([]byte, 3000)
	through := func() {
		for at := log.Offset(0); at < l.End(); {
			data, err := l.ReadInto(buf, at, l.End())
			require.NoError(t, err)
			require.NotEmpty(t, data)
			for len(data) > 0 {
				var b log.Batch
				b, data, err = log.SplitBatch(data)
				require.NoError(t, err)
				require.NoError(t, b.Check())
				require.Equal(t, at, b.First())
				at = b.Next()
			}
		}
	}
	through()
	data, err := l.ReadInto(buf, 0, 20)
	require.NoError(t, err)
	require.Same(t, &buf[0], &data[0])
	least := 1.0
	for range 5 { // the runtime's own allocations count too, when they fall into a try
		at := log.Offset(20)
		least = min(least, testing.AllocsPerRun(100, func() { // from the disk, one behind another
			if _, err := l.ReadInto(buf, at, at+1); err != nil {
				t.Fatal(err)
			}
			at++
		}))
	}
	require.Zero(t, least)
	_, err = l.ReadInto(nil, 0, 1)
	require.NoError(t, err)
}
