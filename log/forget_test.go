package log_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// A forgetful disk is one below a system that tells of a failed sync once, and counts what
// it could not write as written: readers see it, also those of the next process, until the
// power fails. Names and sizes are durable at once.
type forgetful struct {
	log.FS
	mu    sync.Mutex
	fail  string                    // the end of the names of files whose syncs fail; empty: none do
	files map[string]map[int64]byte // what each byte is on the disk, where that is another
	dirty map[string]map[int64]bool // bytes that the next sync writes
}

func newForgetful() *forgetful {
	return &forgetful{FS: log.NewMemFS(), files: map[string]map[int64]byte{}, dirty: map[string]map[int64]bool{}}
}

func (f *forgetful) Open(name string) (log.File, error) {
	file, err := f.FS.Open(name)
	return &forgetfulFile{File: file, disk: f, name: name}, err
}

func (f *forgetful) Create(name string) (log.File, error) {
	f.mu.Lock()
	delete(f.files, name)
	delete(f.dirty, name)
	f.mu.Unlock()
	file, err := f.FS.Create(name)
	return &forgetfulFile{File: file, disk: f, name: name}, err
}

func (f *forgetful) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[to], f.dirty[to] = f.files[from], f.dirty[from]
	delete(f.files, from)
	delete(f.dirty, from)
	return f.FS.Rename(from, to)
}

// powerFail leaves what the disk has.
func (f *forgetful) powerFail(t *testing.T) {
	for name, bytes := range f.files {
		file, err := f.FS.Open(name)
		require.NoError(t, err)
		for at, b := range bytes {
			_, err := file.WriteAt([]byte{b}, at)
			require.NoError(t, err)
		}
	}
	f.files, f.dirty = map[string]map[int64]byte{}, map[string]map[int64]bool{}
}

type forgetfulFile struct {
	log.File
	disk *forgetful
	name string
}

func (f *forgetfulFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	was := make([]byte, len(p))
	_, _ = f.ReadAt(was, off) // zeros behind the end
	old, dirty := f.disk.files[f.name], f.disk.dirty[f.name]
	if old == nil {
		old, dirty = map[int64]byte{}, map[int64]bool{}
		f.disk.files[f.name], f.disk.dirty[f.name] = old, dirty
	}
	for i := range p {
		at := off + int64(i)
		if _, known := old[at]; !known {
			old[at] = was[i]
		}
		dirty[at] = true
	}
	return f.File.WriteAt(p, off)
}

func (f *forgetfulFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	dirty := f.disk.dirty[f.name]
	failed := f.disk.fail != "" && strings.HasSuffix(f.name, f.disk.fail)
	for at := range dirty {
		if !failed {
			delete(f.disk.files[f.name], at)
		}
		delete(dirty, at)
	}
	if failed {
		return errDied
	}
	return nil
}

// A process whose sync has failed, and that is started again, may still read what never
// came to the disk. What it calls flushed then is there when the power fails.
func TestWhatAFailedSyncHasLeftInMemoryIsWrittenAgain(t *testing.T) {
	for _, segment := range []int64{1 << 20, 800} {
		cfg := log.Config{SegmentBytes: segment}
		d := newForgetful()
		l, _, err := log.Open(d, "d", cfg)
		require.NoError(t, err)
		appendTo(t, l, 1, "a", "b")
		_, err = l.Flush()
		require.NoError(t, err)
		want := []string{"a", "b"}
		d.fail = ".log"
		for i := range 20 {
			v := fmt.Sprint("unsynced ", i)
			if _, err := l.Append(1, batchOf(v)); err != nil {
				break // a new segment has files to sync
			}
			want = append(want, v)
		}
		_, err = l.Flush()
		require.ErrorIs(t, err, log.ErrFailed)
		_ = l.Close()

		d.fail = "" // the process is started again
		l, rec, err := log.Open(d, "d", cfg)
		require.NoError(t, err)
		require.False(t, rec.Lost)
		require.Equal(t, want, values(t, l, 0))
		require.EqualValues(t, len(want), l.Flushed())
		require.NoError(t, l.Checkpoint())
		_ = l.Close()
		d.powerFail(t)
		l, _, err = log.Open(d, "d", cfg)
		require.NoError(t, err)
		require.Equal(t, want, values(t, l, 0))
		require.NoError(t, l.Close())
	}
}

// The record of the flushed end is no better.
func TestWhatAFailedSyncHasLeftOfTheFlushedEndIsWrittenAgain(t *testing.T) {
	d := newForgetful()
	l, _, err := log.Open(d, "d", log.Config{})
	require.NoError(t, err)
	appendTo(t, l, 1, "a")
	_, err = l.Flush()
	require.NoError(t, err)
	require.NoError(t, l.Checkpoint())
	appendTo(t, l, 1, "b")
	_, err = l.Flush()
	require.NoError(t, err)
	d.fail = "flushed"
	require.ErrorIs(t, l.Checkpoint(), log.ErrFailed)
	_ = l.Close()

	d.fail = ""
	l, _, err = log.Open(d, "d", log.Config{})
	require.NoError(t, err)
	require.NoError(t, l.Checkpoint(), "from now on all is known to be flushed")
	d.powerFail(t)
	f, err := d.Open("d/00000000000000000000.log")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("?"), int64(2*len(batchOf("a")))-1)
	require.NoError(t, err)
	_, _, err = log.Open(d, "d", log.Config{})
	require.ErrorIs(t, err, log.ErrCorrupt, "it is no torn end of a write")
}
