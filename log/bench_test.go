package log_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// These benchmarks hold the log against what the machine can do: the same bytes
// with pwrite, fdatasync, pread and CRC-32C, and nothing else. An iteration is a
// round of both sides, in turn, each on a fresh file, so that a machine that is
// slower for a while is so for both, and both touch as many fresh pages. They
// report medians of the rounds:
//
//	share     speed of the log as a part of the limit's, of the same round
//	limit-ns  for a batch
//	log-ns    for a batch
//
// For a firm figure: go test -bench . -benchtime 30x

// A side is one of the two that are compared.
type side struct {
	// ready prepares a round.
	ready func(b *testing.B)
	// run is what is timed, and returns how many batches it did.
	run func(b *testing.B) int
	// done clears away what a round left.
	done func(b *testing.B)
}

// compare runs rounds of both sides, and reports their medians.
func compare(b *testing.B, limit, ours side) {
	var limits, times, shares []float64
	for i := 0; b.Loop(); i++ {
		order := []*side{&limit, &ours}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		var l, o float64
		for _, s := range order {
			ns := s.time(b)
			if s == &limit {
				l = ns
			} else {
				o = ns
			}
		}
		limits, times, shares = append(limits, l), append(times, o), append(shares, l/o)
	}
	b.ReportMetric(median(shares), "share")
	b.ReportMetric(median(limits), "limit-ns")
	b.ReportMetric(median(times), "log-ns")
	b.ReportMetric(0, "ns/op") // of a round: means nothing
}

// time returns the nanoseconds that a batch took.
func (s *side) time(b *testing.B) float64 {
	s.ready(b)
	runtime.GC() // nobody pays for the garbage of the other
	began := time.Now()
	n := s.run(b)
	took := time.Since(began)
	s.done(b)
	return float64(took) / float64(n)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func benchBatch(bytes, records int) log.Batch {
	var b log.Builder
	for range records {
		b.Append(1, nil, make([]byte, bytes), nil)
	}
	return b.Build()
}

// A rawFile writes batches one behind another.
type rawFile struct {
	*os.File
	at int64
}

func (f *rawFile) ready(b *testing.B, batch []byte) {
	var err error
	f.File, err = os.Create(filepath.Join(b.TempDir(), "raw"))
	require.NoError(b, err)
	f.at = 0
	f.append(b, batch)
}

func (f *rawFile) append(b *testing.B, batch []byte) {
	if _, err := f.WriteAt(batch, f.at); err != nil {
		b.Fatal(err)
	}
	f.at += int64(len(batch))
}

// done drops the bytes, so that none is written back during the next round.
func (f *rawFile) done(b *testing.B) {
	require.NoError(b, errors.Join(f.Truncate(0), f.Sync(), f.Close()))
}

// A rawLog is the log that is held against a rawFile.
type rawLog struct{ *log.Log }

func (l *rawLog) ready(b *testing.B, batch []byte) {
	var err error
	l.Log, _, err = log.Open(log.OS(), filepath.Join(b.TempDir(), "log"), log.Config{})
	require.NoError(b, err)
	l.append(b, batch)
	_, err = l.Flush()
	require.NoError(b, err)
}

func (l *rawLog) append(b *testing.B, batch []byte) {
	if _, err := l.Append(0, batch); err != nil {
		b.Fatal(err)
	}
}

func (l *rawLog) done(b *testing.B) {
	require.NoError(b, errors.Join(l.Truncate(0), l.Close()))
}

const roundBytes = 48 << 20 // within one segment

func BenchmarkAppend(b *testing.B) {
	for _, s := range []struct{ bytes, records int }{{100, 1}, {100, 100}, {1 << 10, 100}, {10 << 10, 100}} {
		batch := benchBatch(s.bytes, s.records)
		name := fmt.Sprintf("%dx%d", s.bytes, s.records)
		b.Run(name, func(b *testing.B) {
			compareAppends(b, batch, func(*testing.B, *log.Log) {})
		})
		// The limit is the same: what reading costs, and what it costs that memory
		// which was handed out is not filled anew.
		b.Run(name+"/followed", func(b *testing.B) {
			compareAppends(b, batch, func(b *testing.B, l *log.Log) {
				if _, err := l.Read(l.End()-log.Offset(s.records), l.End(), 1<<20); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// compareAppends appends without flushes, calling after behind each.
func compareAppends(b *testing.B, batch log.Batch, after func(*testing.B, *log.Log)) {
	n := roundBytes / len(batch)
	var raw rawFile
	var l rawLog
	compare(b, side{
		ready: func(b *testing.B) { raw.ready(b, batch) },
		run: func(b *testing.B) int {
			for range n {
				raw.append(b, batch)
			}
			return n
		},
		done: raw.done,
	}, side{
		ready: func(b *testing.B) { l.ready(b, batch) },
		run: func(b *testing.B) int {
			for range n {
				l.append(b, batch)
				after(b, l.Log)
			}
			return n
		},
		done: l.done,
	})
}

func BenchmarkFlush(b *testing.B) {
	for _, s := range []struct{ bytes, records, rounds int }{{1 << 10, 1, 500}, {1 << 10, 100, 200}} {
		batch := benchBatch(s.bytes, s.records)
		b.Run(fmt.Sprintf("%dx%d", s.bytes, s.records), func(b *testing.B) {
			var raw rawFile
			var l rawLog
			compare(b, side{
				ready: func(b *testing.B) { raw.ready(b, batch) },
				run: func(b *testing.B) int {
					for range s.rounds {
						raw.append(b, batch)
						if err := datasync(raw.File); err != nil {
							b.Fatal(err)
						}
					}
					return s.rounds
				},
				done: raw.done,
			}, side{
				ready: func(b *testing.B) { l.ready(b, batch) },
				run: func(b *testing.B) int {
					for range s.rounds {
						l.append(b, batch)
						if _, err := l.Flush(); err != nil {
							b.Fatal(err)
						}
					}
					return s.rounds
				},
				done: l.done,
			})
		})
	}
}

// BenchmarkFlushTogether holds many writers, who take turns at appending and
// share flushes, against one who does both alone: here share says how many
// times faster they are together.
func BenchmarkFlushTogether(b *testing.B) {
	batch := benchBatch(100, 1)
	var l rawLog
	run := func(writers, each int) side {
		return side{
			ready: func(b *testing.B) { l.ready(b, batch) },
			run: func(b *testing.B) int {
				var turn sync.Mutex
				var all sync.WaitGroup
				for range writers {
					all.Go(func() {
						for range each {
							turn.Lock()
							_, err := l.Append(0, batch)
							turn.Unlock()
							if err == nil {
								_, err = l.Flush()
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				return writers * each
			},
			done: l.done,
		}
	}
	compare(b, run(1, 400), run(64, 200))
}

func BenchmarkRead(b *testing.B) {
	const step = 1 << 20
	batch := benchBatch(1<<10, 100)
	n := roundBytes / len(batch)
	dir := b.TempDir()
	l := open(b, log.OS(), dir, log.Config{})
	for range n {
		_, err := l.Append(0, batch)
		require.NoError(b, err)
	}
	// The newest batches are in memory; both sides leave them out.
	n -= (2 << 20) / len(batch)
	end := log.Offset(n * 100)

	f, err := os.Open(filepath.Join(dir, fmt.Sprintf("%020d.log", 0)))
	require.NoError(b, err)
	defer f.Close()
	nothing := func(*testing.B) {}
	limit := side{ready: nothing, done: nothing, run: func(b *testing.B) int {
		table := crc32.MakeTable(crc32.Castagnoli)
		buf := make([]byte, step/len(batch)*len(batch))
		for i := 0; i < n; {
			got := min(step/len(batch), n-i)
			data := buf[:got*len(batch)]
			if _, err := f.ReadAt(data, int64(i*len(batch))); err != nil {
				b.Fatal(err)
			}
			for rest := data; len(rest) > 0; rest = rest[len(batch):] {
				if crc32.Checksum(rest[21:len(batch)], table) != binary.BigEndian.Uint32(rest[17:]) {
					b.Fatal("checksum")
				}
			}
			i += got
		}
		return n
	}}
	through := func(read func(from log.Offset) ([]byte, error), each func(log.Batch)) side {
		return side{ready: nothing, done: nothing, run: func(b *testing.B) int {
			for at := log.Offset(0); at < end; {
				data, err := read(at)
				if err != nil {
					b.Fatal(err)
				}
				for len(data) > 0 {
					var batch log.Batch
					if batch, data, err = log.SplitBatch(data); err != nil {
						b.Fatal(err)
					}
					each(batch)
					at = batch.Next()
				}
			}
			return n
		}}
	}
	kept := func(from log.Offset) ([]byte, error) { return l.Read(from, end, step) }
	skip := func(log.Batch) {}
	buf := make([]byte, step)
	passing := func(from log.Offset) ([]byte, error) { return l.ReadInto(buf, from, end) }
	records := func(batch log.Batch) {
		for _, err := range batch.Records() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("passing", func(b *testing.B) { compare(b, limit, through(passing, skip)) })
	b.Run("passing/each record", func(b *testing.B) { compare(b, limit, through(passing, records)) })
	b.Run("kept", func(b *testing.B) { compare(b, limit, through(kept, skip)) })
}

func BenchmarkReadTail(b *testing.B) {
	batch := benchBatch(1<<10, 1)
	l := open(b, log.OS(), b.TempDir(), log.Config{})
	for range 100 {
		_, err := l.Append(0, batch)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Read(90, 100, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuilder(b *testing.B) {
	var builder log.Builder
	value := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if builder.Append(1, nil, value, nil); builder.Count() == 100 {
			builder.Build()
			builder.Reset(nil)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		name string
		fsys log.FS
	}{{"os", log.OS()}, {"memory", log.NewMemFS()}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			l := open(b, c.fsys, dir, log.Config{})
			appendTo(b, l, 0, "a", "b")
			require.NoError(b, l.Close())
			for b.Loop() {
				l, _, err := log.Open(c.fsys, dir, log.Config{})
				require.NoError(b, err)
				require.NoError(b, l.Close())
			}
		})
	}
}
