package log

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testdata/golden/log-1 is a whole log, and log-1.txt what is in it. Every release
// must read it. Where a release has a new format, or keeps its files another way, it
// gets a log of its own beside this one: go test ./log -log.golden DIR writes it.
var goldenFlag = flag.String("log.golden", "", "write the golden log, and what is in it, into this directory")

const goldenLog = "log-1"

var goldenConfig = Config{SegmentBytes: 1_500, IndexInterval: 200, ZerosAhead: -1, Memory: NewMemory(0)}

// A goldenWriter makes the golden log.
type goldenWriter struct {
	t     *testing.T
	log   *Log
	clock int64
	sent  map[int64]int32
}

func (g *goldenWriter) append(epoch Epoch, b Batch) {
	_, err := g.log.Append(epoch, b)
	require.NoError(g.t, err)
}

// add appends a batch with as many records as keys; a key with a - before it is a
// tombstone's.
func (g *goldenWriter) add(epoch Epoch, producer int64, producerEpoch int16, keys ...string) {
	var b Builder
	if producer >= 0 {
		b.Identify(producer, producerEpoch, g.sent[producer])
		g.sent[producer] += int32(len(keys))
	}
	for _, k := range keys {
		g.clock += 10
		key, deleted := strings.CutPrefix(k, "-")
		value := []byte(nil)
		if !deleted {
			value = fmt.Appendf(nil, "%s at %d", key, g.clock)
		}
		b.Append(g.clock, []byte(key), value, []Header{{"from", []byte("golden")}})
	}
	g.append(epoch, b.Build())
}

func (g *goldenWriter) compact(now int64) Compaction {
	c, err := g.log.Compact(context.Background(), time.UnixMilli(now), CompactConfig{UpTo: g.log.End(), TombstoneAge: time.Second, MinDirty: 0.01})
	require.NoError(g.t, err)
	require.True(g.t, c.Ran)
	return c
}

// writeGoldenLog makes a log that has what a log can have: segments that were
// removed, compacted ones with fillers, and with a tombstone that has a horizon,
// epochs, one of them without batches, a compressed batch, whose bytes are those of
// the golden file, and producers.
func writeGoldenLog(t *testing.T, fsys FS, dir string) {
	clock := time.UnixMilli(1_700_000_000_000)
	cfg := goldenConfig
	cfg.Now = func() time.Time { return clock }
	l, _, err := Open(fsys, dir, cfg)
	require.NoError(t, err)
	g := &goldenWriter{t: t, log: l, clock: clock.UnixMilli(), sent: map[int64]int32{}}
	for i := range 8 {
		g.add(0, -1, -1, fmt.Sprint("early-", i), "gone")
	}
	require.NoError(t, l.Roll())
	for i := range 12 {
		g.add(2+Epoch(i/5), int64(7+i%2), 0, fmt.Sprint("key-", i%3), "-gone", "key-0")
	}
	g.add(4, -1, -1, "alone")
	require.NoError(t, l.Roll())
	require.Positive(t, g.compact(g.clock).RecordsIn)
	require.Positive(t, g.compact(g.clock+2_000).Tombstones)
	g.add(4, -1, -1, "-key-1", "alone", "last")
	require.NoError(t, l.Roll())
	g.compact(g.clock + 2_500)

	g.add(5, 9, 3, "a", "b")
	g.append(5, readGolden(t, "zstd.batch"))
	require.NoError(t, l.DeleteBefore(l.Start()+9))
	require.NoError(t, l.BeginEpoch(6))
	for i := range 7 {
		g.add(7, 8, 0, fmt.Sprint("late-", i))
	}
	require.NoError(t, l.Close())
}

// tellLog says what is in a log, in lines: all that a caller can learn of it.
func tellLog(t *testing.T, l *Log) string {
	var out strings.Builder
	tell := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	tell("log from %d to %d, tombstones removed below %d", l.Start(), l.End(), l.RemovedBelow())
	for e := NoEpoch; e <= l.LastEpoch()+1; e++ {
		found, end, ok := l.EndOf(e)
		tell("epoch %d: %d ends at %d, %v", e, found, end, ok)
	}
	times := map[int64]bool{}
	for _, b := range batchesOf(t, l) {
		epoch, ok := l.EpochAt(b.First())
		require.True(t, ok)
		require.Equal(t, b.Epoch(), epoch)
		tell("batch %d to %d, epoch %d, %s, attributes %#x, times %d to %d, producer %d %d %d",
			b.First(), b.Last(), epoch, b.Compression(), b.Attributes(), b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
		if b.ProducerID() >= 0 {
			for _, next := range []int32{0, b.lastDelta() + 1} {
				tell("  again, from %d on: %s", next, verdictOf(l, b, next))
			}
		}
		for _, r := range collect(t, b) {
			tell("  record %d at %d: %q = %q %v", r.Offset, r.Timestamp, r.Key, r.Value, r.Value == nil)
			for _, h := range r.Headers {
				tell("    %q = %q %v", h.Key, h.Value, h.Value == nil)
			}
			times[r.Timestamp], times[r.Timestamp+1] = true, true
		}
	}
	for _, at := range slices.Sorted(maps.Keys(times)) {
		off, ok, err := l.OffsetAt(at, l.End())
		require.NoError(t, err)
		tell("time %d: %d %v", at, off, ok)
	}
	return out.String()
}

// verdictOf judges a batch of b's length and producer, some sequences behind b.
func verdictOf(l *Log, b Batch, later int32) string {
	var again Builder
	again.Identify(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()+later)
	for range b.lastDelta() + 1 {
		again.Append(0, nil, nil, nil)
	}
	first, duplicate, err := l.CheckProducer(again.Build())
	return fmt.Sprint(first, duplicate, err)
}

func batchesOf(t *testing.T, l *Log) (all []Batch) {
	for from := l.Start(); from < l.End(); {
		data, err := l.Read(from, l.End(), 500)
		require.NoError(t, err)
		for len(data) > 0 {
			var b Batch
			b, data, err = SplitBatch(data)
			require.NoError(t, err)
			require.NoError(t, b.Check())
			all, from = append(all, b), b.Next()
		}
	}
	return all
}

// goldenLogFiles returns the files of the golden log.
func goldenLogFiles(t *testing.T) map[string][]byte {
	entries, err := os.ReadDir(filepath.Join("testdata", "golden", goldenLog))
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, e := range entries {
		files[e.Name()] = readGolden(t, goldenLog+"/"+e.Name())
	}
	return files
}

func putFiles(t *testing.T, fsys FS, dir string, files map[string][]byte) {
	require.NoError(t, fsys.MkdirAll(dir))
	for name, b := range files {
		putFile(t, fsys, filepath.Join(dir, name), b)
	}
}

func filesOf(t *testing.T, fsys FS, dir string) map[string][]byte {
	names, err := fsys.ReadDir(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, name := range names {
		files[name], err = readWhole(fsys, filepath.Join(dir, name), 1<<20)
		require.NoError(t, err)
	}
	return files
}

func TestGoldenLogIsRead(t *testing.T) {
	want := string(readGolden(t, goldenLog+".txt"))
	for name, c := range map[string]struct {
		fsys FS
		dir  string
	}{"memory": {NewMemFS(), "d"}, "os": {OS(), filepath.Join(t.TempDir(), "d")}} {
		t.Run(name, func(t *testing.T) {
			putFiles(t, c.fsys, c.dir, goldenLogFiles(t))
			r, err := Verify(c.fsys, c.dir)
			require.NoError(t, err)
			require.Empty(t, r.Damage)
			require.Empty(t, r.Hints)
			for range 2 { // as it was left, and as this release leaves it
				view, _, err := View(c.fsys, c.dir, goldenConfig)
				require.NoError(t, err)
				require.Equal(t, r.Start, view.Start())
				require.Equal(t, r.End, view.End())
				require.NoError(t, view.Close())

				l, recovery, err := Open(c.fsys, c.dir, goldenConfig)
				require.NoError(t, err)
				require.Equal(t, Recovery{CutAt: -1}, recovery)
				require.Equal(t, want, tellLog(t, l))
				require.NoError(t, l.Close())
			}
			require.Equal(t, goldenLogFiles(t), filesOf(t, c.fsys, c.dir), "what was only read is as it was")
		})
	}
}

// A log that is made anew has the same files. The flushed end tells how often it was
// written, which is no part of its format.
func TestGoldenLogIsWritten(t *testing.T) {
	fsys := NewMemFS()
	writeGoldenLog(t, fsys, "d")
	files := filesOf(t, fsys, "d")
	if dir := *goldenFlag; dir != "" {
		putFiles(t, OS(), filepath.Join(dir, goldenLog), files)
		l, _, err := Open(fsys, "d", goldenConfig)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, goldenLog+".txt"), []byte(tellLog(t, l)), 0o600))
		return
	}
	want := goldenLogFiles(t)
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(files)))
	for name, b := range want {
		if name != slotFile {
			require.Equal(t, b, files[name], name)
			continue
		}
		was, err := parseSlots(b)
		require.NoError(t, err)
		is, err := parseSlots(files[name])
		require.NoError(t, err)
		was.sequence, is.sequence = 0, 0
		require.Equal(t, was, is)
	}
}

// A file of a later version is left alone, and so is all beside it.
func TestGoldenLogWithAFileOfALaterVersion(t *testing.T) {
	refused := 0
	for name, b := range goldenLogFiles(t) {
		later := laterVersion(name, b)
		if later == nil {
			continue // the batches have theirs, and the indexes have none
		}
		t.Run(name, func(t *testing.T) {
			files := goldenLogFiles(t)
			files[name] = later
			fsys := NewMemFS()
			putFiles(t, fsys, "d", files)
			_, err := Verify(fsys, "d")
			require.ErrorIs(t, err, ErrNewer)
			l, _, err := Open(fsys, "d", goldenConfig)
			if err == nil { // it has not come to need that file
				_, _, err = l.OffsetAt(1<<62, l.End())
				_ = l.Close()
			}
			if err == nil {
				require.Equal(t, snapshotSuffix, filepath.Ext(name), "an older snapshot serves a cut alone")
				require.NotEqual(t, filepath.Base(snapshotPath("", l.End())), name)
			} else {
				require.ErrorIs(t, err, ErrNewer)
				refused++
			}
			require.Equal(t, files, filesOf(t, fsys, "d"))
		})
	}
	require.Greater(t, refused, 5)
}

// laterVersion returns a file as a later release may leave it; nil if that kind of
// file has no version.
func laterVersion(name string, b []byte) []byte {
	b = slices.Clone(b)
	switch filepath.Ext(name) {
	case segmentSuffix, indexSuffix, timesSuffix:
		return nil
	}
	if name != slotFile {
		binary.BigEndian.PutUint16(b[4:], binary.BigEndian.Uint16(b[4:])+1)
		binary.BigEndian.PutUint32(b[fileCRC:], fileChecksum(b))
		return b
	}
	for at := 0; at < len(b); at += slotStride {
		s := b[at : at+slotSize]
		binary.BigEndian.PutUint16(s[4:], slotVersion+1)
		binary.BigEndian.PutUint32(s[slotCRC:], checksum(s[:slotCRC]))
	}
	return b
}

func TestVerifyOfASnapshotThatIsDamaged(t *testing.T) {
	for name, b := range goldenLogFiles(t) {
		if filepath.Ext(name) != snapshotSuffix {
			continue
		}
		files := goldenLogFiles(t)
		files[name] = slices.Concat(b[:len(b)-1], []byte{b[len(b)-1] ^ 1})
		fsys := NewMemFS()
		putFiles(t, fsys, "d", files)
		r, err := Verify(fsys, "d")
		require.NoError(t, err)
		require.Empty(t, r.Damage)
		require.Equal(t, []*CorruptError{{File: name, Offset: -1, Reason: "checksum"}}, r.Hints)
	}
}
