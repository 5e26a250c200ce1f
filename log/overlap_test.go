package log_test

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A hooked disk calls a function, once, before a name is opened or after one is
// listed: what overlaps a call of a log at that moment.
type hooked struct {
	log.FS
	open   string // what the name ends with
	list   bool
	room   bool
	during func()
}

func (h *hooked) call() {
	if during := h.during; during != nil {
		h.during = nil
		during()
	}
}

func (h *hooked) Open(name string) (log.File, error) {
	if h.open != "" && strings.HasSuffix(name, h.open) {
		h.call()
	}
	return h.FS.Open(name)
}

func (h *hooked) ReadDir(dir string) ([]string, error) {
	names, err := h.FS.ReadDir(dir)
	if h.list {
		h.call()
	}
	return names, err
}

func (h *hooked) Room(string) (int64, error) {
	if h.room {
		h.call()
	}
	return math.MaxInt64, nil
}

func TestACloseThatOverlapsTheFirstAppendIsNoPanic(t *testing.T) {
	for name, cfg := range map[string]log.Config{
		"into a segment":    {},
		"of a new one":      {SegmentBytes: 1},
		"of the first file": {},
	} {
		t.Run(name, func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			if name != "of the first file" {
				l := open(t, d, "d", cfg)
				appendTo(t, l, 0, "a")
				require.NoError(t, l.Close())
			}
			h := &hooked{FS: d, room: true}
			cfg.Space = log.NewSpace(h, "d", 0)
			l := open(t, h, "d", cfg)
			h.during = func() { require.NoError(t, l.Close()) }
			_, err := l.Append(0, batchOf("b"))
			require.ErrorIs(t, err, log.ErrClosed)
			require.NotErrorIs(t, err, log.ErrFailed)
			require.Empty(t, d.Handles())
		})
	}
}

func TestACheckpointMayOverlapTheFirstAppend(t *testing.T) {
	for range 50 {
		l := open(t, log.NewMemFS(), "d", log.Config{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for l.End() == 0 {
				require.NoError(t, l.Checkpoint())
			}
		})
		appendTo(t, l, 0, "a")
		wg.Wait()
	}
}

func TestALookAtSegmentsMayOverlapTheirRemoval(t *testing.T) {
	for name, remove := range map[string]func(l *log.Log) error{
		"deleted":   func(l *log.Log) error { return l.DeleteBefore(3) },
		"truncated": func(l *log.Log) error { return l.Truncate(1) },
	} {
		for look, ask := range map[string]func(l *log.Log) error{
			"offset": func(l *log.Log) error {
				off, ok, err := l.OffsetAt(0, l.End())
				require.True(t, !ok || off >= l.Start() && off < l.End())
				return err
			},
			"size": func(l *log.Log) error { _, err := l.Size(); return err },
			"expired": func(l *log.Log) error {
				_, _, err := l.Expired(time.UnixMilli(math.MaxInt32), log.Retention{Age: time.Millisecond}, l.End())
				return err
			},
		} {
			for _, at := range []string{"0.log", "1.log", "2.log", "0.sum", "1.sum", "2.sum", "0.index", "1.index", "2.index"} {
				t.Run(filepath.Join(name, look, at), func(t *testing.T) {
					cfg := log.Config{SegmentBytes: 1, Memory: log.NewMemory(0)}
					m := log.NewMemFS()
					l := open(t, m, "d", cfg)
					appendTo(t, l, 0, "a", "b", "c", "d")
					require.NoError(t, l.Close())
					h := &hooked{FS: m}
					l = open(t, h, "d", cfg)
					h.open, h.during = at, func() { require.NoError(t, remove(l)) }
					require.NoError(t, ask(l))
					require.NoError(t, ask(l))
				})
			}
		}
	}
}

func TestACompactionWhoseOriginalsStayIsReadAllTheSame(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{SegmentBytes: 1, Memory: log.NewMemory(0)})
	for range 4 {
		_, err := l.Append(0, keyedBatch("k", []byte("v")))
		require.NoError(t, err)
	}
	d.Inject(logtest.Fault{Op: logtest.Remove, Name: "*.deleted", Every: 1, Err: syscall.EIO})
	_, err := l.Compact(context.Background(), time.UnixMilli(2000), log.CompactConfig{UpTo: l.End()})
	require.ErrorIs(t, err, syscall.EIO)
	require.NotErrorIs(t, err, log.ErrFailed)
	d.Revive()
	require.Equal(t, []string{"v", "v", "v"}, values(t, l, 0))
	require.NoError(t, l.Close())
	require.Empty(t, d.Handles())
}

func TestAViewMayOverlapARoll(t *testing.T) {
	m := log.NewMemFS()
	cfg := log.Config{SegmentBytes: 100}
	l := open(t, m, "d", cfg)
	appendTo(t, l, 0, strings.Repeat("x", 500))
	h := &hooked{FS: m, list: true, during: func() {
		appendTo(t, l, 0, "b")
		_, err := l.Flush()
		require.NoError(t, err)
	}}
	v, _, err := log.View(h, "d", cfg)
	require.NoError(t, err)
	require.NotEmpty(t, values(t, v, 0))
	require.NoError(t, v.Close())
}

func TestAViewReportsNothing(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 0, "a")
	require.NoError(t, l.Close())
	require.NoError(t, d.FlipBit("d/00000000000000000000.log", 30, 1))
	_, err := log.Repair(d, "d", log.Config{})
	require.NoError(t, err)
	v, r, err := log.View(d, "d", log.Config{})
	require.NoError(t, err)
	require.True(t, r.Lost)
	require.ErrorIs(t, v.Reported(), log.ErrReadOnly)
	_, r, err = log.Open(d, "d", log.Config{})
	require.NoError(t, err)
	require.True(t, r.Lost)
}

func TestWhatACutHasLeftUnsyncedDoesNotComeBackBehindARoll(t *testing.T) {
	d := cutAndKilled(t, log.Config{})
	l := open(t, d, "d", log.Config{})
	require.NoError(t, l.Roll())
	appendTo(t, l, 1, "C")
	_, err := l.Flush()
	require.NoError(t, err)
	d.Fail(errDied)
	_ = l.Close()
	require.NoError(t, d.PowerFailKeeping(0, nil))
	r, err := log.Verify(d, "d")
	require.NoError(t, err)
	require.Empty(t, r.Damage)
	require.Equal(t, []string{"a", "b", "C"}, values(t, open(t, d, "d", log.Config{}), 0))
}
