package log

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func memoryLog(t *testing.T, fsys FS, dir string, m *Memory) *Log {
	l, _, err := Open(fsys, dir, Config{Memory: m})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func batchOfSize(n int) Batch {
	var b Builder
	b.Append(1, nil, make([]byte, n), nil)
	return b.Build()
}

// kept returns how many bytes of batches are in memory, having checked the account.
func kept(t *testing.T, m *Memory, logs ...*Log) []int {
	t.Helper()
	held, sizes := 0, make([]int, len(logs))
	var places []*chunk
	for i, l := range logs {
		for _, c := range l.state.tail.chunks {
			held += c.held
			sizes[i] += len(c.buf)
			require.LessOrEqual(t, len(c.buf), c.held)
			places = append(places, c)
		}
	}
	require.Equal(t, held, m.held)
	require.LessOrEqual(t, m.held, m.budget)
	n := 0
	next := map[*tail]int{}
	for c := m.ends.next; c != &m.ends; c = c.next {
		require.Same(t, c, c.tail.chunks[next[c.tail]], "the ring has a tail's chunks in their order")
		next[c.tail]++
		n++
	}
	require.Len(t, places, n)
	return sizes
}

func TestLogsShareOneMemory(t *testing.T) {
	fsys, m := NewMemFS(), NewMemory(64<<10)
	var logs []*Log
	add := func(i, size int) {
		_, err := logs[i].Append(0, batchOfSize(size))
		require.NoError(t, err)
	}
	for i := range 4 {
		logs = append(logs, memoryLog(t, fsys, fmt.Sprint(i), m))
		add(i, 1000)
	}
	for i, n := range kept(t, m, logs...) {
		require.Positive(t, n, "log %d", i)
	}
	// What was appended longest ago leaves first, to the last byte of an idle log.
	for i := 0; kept(t, m, logs...)[1] > 0; i++ {
		require.Less(t, i, 100)
		add(0, 3000)
		add(2, 10)
	}
	for range 30 {
		add(0, 3000)
		add(0, 3000)
		add(3, 10)
	}
	sizes := kept(t, m, logs...)
	require.Greater(t, sizes[3], 30*BatchOverhead, "a chunk in use stays, however old it is")
	for range 100 {
		add(0, 3000)
	}
	sizes = kept(t, m, logs...)
	require.Greater(t, sizes[0], 30<<10)
	require.Equal(t, []int{0, 0, 0}, sizes[1:])

	for i := range logs {
		add(i, 1000)
		require.True(t, i == 0 || logs[i].state.tail.last().held == firstChunk, "an idle log begins small again")
	}
	require.NoError(t, logs[0].Truncate(50))
	kept(t, m, logs...)
	require.NoError(t, logs[1].Reset(7))
	require.Zero(t, kept(t, m, logs...)[1])
	for _, l := range logs {
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
	}
	require.Equal(t, []int{0, 0, 0, 0}, kept(t, m, logs...))
	require.Zero(t, m.held)
}

// A log whose chunk must go while it writes into it does not share it with the
// log that pushed it out.
func TestAChunkThatIsBeingFilledIsNotFilledByAnother(t *testing.T) {
	fsys, m := NewMemFS(), NewMemory(16<<10)
	a, b := memoryLog(t, fsys, "a", m), memoryLog(t, fsys, "b", m)
	_, err := a.Append(0, batchOfSize(10))
	require.NoError(t, err)
	tail := &a.state.tail
	want := bytes.Repeat([]byte("x"), 100)
	buf := tail.put(a.active, a.active.size, a.End(), want)
	for range 100 {
		_, err := b.Append(0, batchOfSize(1000))
		require.NoError(t, err)
	}
	require.Equal(t, want, buf)
	require.Zero(t, kept(t, m, a, b)[0])
	tail.extend(100, 2)
	require.Zero(t, kept(t, m, a, b)[0])

	require.NoError(t, errors.Join(a.Close(), b.Close()))
	tail.put(a.active, 0, 2, want)
	require.Zero(t, m.held, "a log that was closed takes nothing more")
}

func TestAMemoryOfNothingKeepsNothing(t *testing.T) {
	m := NewMemory(0)
	l := memoryLog(t, NewMemFS(), "d", m)
	for range 10 {
		_, err := l.Append(0, batchOfSize(10))
		require.NoError(t, err)
	}
	require.Equal(t, []int{0}, kept(t, m, l))
	data, err := l.Read(9, 10, 1)
	require.NoError(t, err)
	require.NoError(t, Batch(data).Check())
}

// placed returns n batches that follow from, of some bytes each.
func placed(from Offset, n, size int) []byte {
	var data []byte
	for i := range n {
		b := batchOfSize(size)
		b.Place(from+Offset(i), 0)
		data = append(data, b...)
	}
	return data
}

func TestReplicateKeepsWhatIsLongAndCopiesNothing(t *testing.T) {
	for _, c := range []struct {
		n      int
		shared bool
	}{{3, false}, {40, true}} {
		m := NewMemory(1 << 20)
		l := memoryLog(t, NewMemFS(), "d", m)
		data := placed(0, c.n, 1000)
		before := slices.Clone(data)
		_, err := l.Replicate(data)
		require.NoError(t, err)
		got, err := l.Read(0, l.End(), 1<<20)
		require.NoError(t, err)
		require.Equal(t, data, got)
		require.Equal(t, c.shared, &got[0] == &data[0])
		require.Equal(t, c.shared, m.held > 0, "what is short is on the disk alone")
		_, err = l.Replicate(placed(l.End(), 1, 10))
		require.NoError(t, err)
		require.Equal(t, before, data)
		kept(t, m, l)
	}
}

type failingFS struct {
	FS
	fail error // of the next write
}

type failingFile struct {
	File
	fsys *failingFS
}

func (f *failingFS) Create(name string) (File, error) {
	file, err := f.FS.Create(name)
	return failingFile{file, f}, err
}

func (f failingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fsys.fail; err != nil {
		f.fsys.fail = nil
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

// The room behind bytes that are somebody else's is theirs, even if nothing of it
// was used.
func TestBorrowedBytesAreNeverWritten(t *testing.T) {
	fsys := &failingFS{FS: NewMemFS()}
	l := memoryLog(t, fsys, "d", NewMemory(100<<10))
	_, err := l.Replicate(placed(0, 1, 10))
	require.NoError(t, err)
	data := placed(1, 40, 1000)
	before := slices.Clone(data)
	fsys.fail = errors.New("no space left on device")
	_, err = l.Replicate(data)
	require.Error(t, err)
	_, err = l.Append(0, batchOfSize(100))
	require.NoError(t, err)
	require.Equal(t, before, data)

	data = placed(l.End(), 40, 1000)
	before = slices.Clone(data)
	_, err = l.Replicate(data)
	require.NoError(t, err)
	for i := range 300 { // until they have left, and longer
		_, err = l.Append(0, batchOfSize(10*i))
		require.NoError(t, err)
	}
	require.Equal(t, before, data)
}

func TestWhatIsReadFromASharedMemoryStaysTrue(t *testing.T) {
	fsys, m := NewMemFS(), NewMemory(40<<10)
	var all sync.WaitGroup
	for i := range 4 {
		l := memoryLog(t, fsys, fmt.Sprint(i), m)
		const records = 3000
		all.Go(func() {
			for at := range records {
				var b Builder
				b.Append(1, nil, []byte(fmt.Sprint(i, at, strings.Repeat("x", at%200))), nil)
				if _, err := l.Append(0, b.Build()); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			var held [][]byte
			for at := Offset(0); at < records; {
				data, err := l.Read(at, l.End(), 2000)
				if err != nil {
					t.Error(err)
					return
				}
				if len(data) > 0 {
					held = append(held, data)
				}
				for rest := data; len(rest) > 0; at++ {
					_, rest, _ = SplitBatch(rest)
				}
			}
			at := 0
			for _, rest := range held {
				for len(rest) > 0 {
					var b Batch
					b, rest, _ = SplitBatch(rest)
					for r, err := range b.Records() {
						if want := fmt.Sprint(i, at, strings.Repeat("x", at%200)); err != nil || string(r.Value) != want {
							t.Errorf("log %d, offset %d: %q, %v", i, at, r.Value, err)
							return
						}
					}
					at++
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, m.held, m.budget)
}
