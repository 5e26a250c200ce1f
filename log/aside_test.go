package log_test

import (
	"math/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// What is set aside is a new log's directory, which keeps the segments for people.
func TestSetAsideMakesANewLogAndKeepsTheSegments(t *testing.T) {
	d, _ := closedLog(t)
	for _, name := range []string{"partition", "d.txt", "00000000000000000000.log.damaged"} {
		f, err := d.Create("d/" + name)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	segments := files(t, d, ".log")
	first := bytesOf(t, d, segments[0])
	require.Greater(t, len(segments), 3)
	require.NoError(t, log.SetAside(d, "d"))

	var want []string
	for _, name := range segments {
		want = append(want, name+".aside")
	}
	require.Equal(t, want, files(t, d, ".aside"))
	require.Equal(t, first, bytesOf(t, d, want[0]))
	require.Len(t, files(t, d, ""), len(want)+3, "nothing else of the log is left, and nothing that is not its own has gone")

	l := open(t, d, "d", smallSegments)
	require.Zero(t, l.Start())
	require.Zero(t, l.End())
	require.Zero(t, l.RemovedBelow())
	appendTo(t, l, 3, "anew")
	require.NoError(t, l.Close())

	require.NoError(t, log.SetAside(d, "d"))
	require.Subset(t, files(t, d, ".aside"), want, "what was set aside first stands")
	require.Equal(t, first, bytesOf(t, d, want[0]))
	dropped, err := log.DropAside(d, "d")
	require.NoError(t, err)
	require.True(t, dropped)
	require.Len(t, files(t, d, ""), 3)
	dropped, err = log.DropAside(d, "d")
	require.NoError(t, err)
	require.False(t, dropped)
	dropped, err = log.DropAside(d, "nowhere")
	require.NoError(t, err)
	require.False(t, dropped)
}

// Wherever a crash comes, a second call leaves a new log, and each segment is there
// under one name or the other.
func TestSetAsideGoesOnAfterACrash(t *testing.T) {
	for _, how := range crashes {
		for n := 1; ; n++ {
			d, _ := closedLog(t)
			segments := files(t, d, ".log")
			d.Crash(n)
			err := log.SetAside(d, "d")
			if err == nil {
				break
			}
			require.ErrorIs(t, err, logtest.ErrCrashed)
			require.NoError(t, how.run(d, rand.New(rand.NewSource(int64(n)))))
			require.NoError(t, log.SetAside(d, "d"), "%s at call %d", how.name, n)
			var left []string
			for _, name := range files(t, d, ".aside") {
				left = append(left, strings.TrimSuffix(name, ".aside"))
			}
			require.Equal(t, segments, left, "%s at call %d", how.name, n)
			l := open(t, d, "d", smallSegments)
			require.Zero(t, l.End(), "%s at call %d", how.name, n)
			require.NoError(t, l.Close())
		}
	}
}

// Scrub looks at the disk itself, also where memory has the batches.
func TestScrubReadsPastTheMemory(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	cfg := smallSegments
	cfg.Memory = log.NewMemory(1 << 20)
	l := open(t, d, "d", cfg)
	defer l.Close()
	fill(t, l, 50)
	end, err := l.Flush()
	require.NoError(t, err)
	appendTo(t, l, 9, "not flushed")

	scrub := func() (at log.Offset, calls int, err error) {
		buf := make([]byte, 700)
		for ; ; calls++ {
			next, err := l.Scrub(at, buf)
			if err != nil || next == at {
				return at, calls, err
			}
			at = next
		}
	}
	at, calls, err := scrub()
	require.NoError(t, err)
	require.Equal(t, end, at, "up to the flushed end")
	require.Greater(t, calls, 5)

	segment := files(t, d, ".log")[2]
	require.NoError(t, d.FlipBit("d/"+segment, 70, 1))
	require.Len(t, values(t, l, 0), 101, "readers are served from memory")
	_, _, err = scrub()
	var bad *log.CorruptError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, segment, bad.File)
}
