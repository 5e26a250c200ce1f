package log_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
)

const roundBytes = 48 << 20 // within one segment

// A shape is records of so many bytes in batches of so many, and what a batch takes
// on the machine of reference: written, and written and synced into a file that
// grows by it.
type shape struct {
	bytes, records   int
	unsynced, synced time.Duration
}

func (s shape) String() string { return fmt.Sprintf("%dx%d", s.bytes, s.records) }

var shapes = []shape{
	{bytes: 100, records: 1, unsynced: perBatch(0.83e6, 1)},
	{bytes: 100, records: 100, unsynced: perBatch(8.5e6, 100)},
	{bytes: 100, records: 1000},
	{bytes: 1 << 10, records: 1, synced: perBatch(6.2e3, 1)},
	{bytes: 1 << 10, records: 100, unsynced: perBatch(1.52e6, 100), synced: perBatch(426e3, 100)},
	{bytes: 1 << 10, records: 1000, synced: perBatch(1.16e6, 1000)},
	{bytes: 10 << 10, records: 1},
	{bytes: 10 << 10, records: 100, unsynced: perBatch(0.26e6, 100)},
	{bytes: 10 << 10, records: 1000},
}

// perBatch returns what a batch takes where so many records go into a second.
func perBatch(perSecond, records float64) time.Duration {
	return time.Duration(records / perSecond * float64(time.Second))
}

// An act is something that is done after an append.
type act struct {
	raw func(b *testing.B, f *rawFile)
	log func(b *testing.B, l *log.Log)
}

var nothing = act{func(*testing.B, *rawFile) {}, func(*testing.B, *log.Log) {}}

var flushing = act{
	func(b *testing.B, f *rawFile) {
		if err := datasync(f.File); err != nil {
			b.Fatal(err)
		}
	},
	func(b *testing.B, l *log.Log) {
		if _, err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	},
}

// reading reads what was appended, and keeps it. The limit has nothing to do: it
// shows what reading costs, and that memory which was handed out is not filled anew.
func reading(s shape) act {
	return act{nothing.raw, func(b *testing.B, l *log.Log) {
		if _, err := l.Read(l.End()-log.Offset(s.records), l.End(), 1<<20); err != nil {
			b.Fatal(err)
		}
	}}
}

func BenchmarkAppend(b *testing.B) {
	for _, s := range shapes {
		batch := benchBatch(s.bytes, s.records)
		n := roundBytes / len(batch)
		b.Run(s.String()+"/Unsynced", func(b *testing.B) { compareAppends(b, s.unsynced, batch, n, nothing) })
		b.Run(s.String()+"/Synced", func(b *testing.B) { compareAppends(b, s.synced, batch, min(n, 300), flushing) })
		b.Run(s.String()+"/Followed", func(b *testing.B) { compareAppends(b, s.unsynced, batch, n, reading(s)) })
	}
}

// compareAppends appends n batches a round, each followed by an act.
func compareAppends(b *testing.B, figure time.Duration, batch log.Batch, n int, after act) {
	var raw rawFile
	var l rawLog
	compare(b, figure, side{
		ready: func(b *testing.B) { raw.ready(b, batch) },
		run: func(b *testing.B) int {
			for range n {
				raw.append(b, batch)
				after.raw(b, &raw)
			}
			return n
		},
		done: raw.done,
	}, side{
		ready: func(b *testing.B) { l.ready(b, batch) },
		run: func(b *testing.B) int {
			for range n {
				l.append(b, batch)
				after.log(b, l.Log)
			}
			return n
		},
		done: l.done,
	})
}

// BenchmarkReplicate holds a follower that is given a leader's batches against the
// same, checked and written.
func BenchmarkReplicate(b *testing.B) {
	for _, s := range shapes {
		batch := benchBatch(s.bytes, s.records)
		n := roundBytes / len(batch)
		if s.records != 100 {
			continue
		}
		b.Run(s.String(), func(b *testing.B) {
			data := make([]log.Batch, n) // a leader's, which never change
			for i := range data {
				data[i] = append(log.Batch(nil), batch...)
				data[i].Place(log.Offset((i+1)*s.records), 0)
			}
			var raw rawFile
			var l rawLog
			compare(b, 0, side{
				ready: func(b *testing.B) { raw.ready(b, batch) },
				run: func(b *testing.B) int {
					for _, d := range data {
						if err := d.Check(); err != nil {
							b.Fatal(err)
						}
						raw.append(b, d)
					}
					return n
				},
				done: raw.done,
			}, side{
				ready: func(b *testing.B) { l.ready(b, batch) },
				run: func(b *testing.B) int {
					for _, d := range data {
						if _, err := l.Replicate(d); err != nil {
							b.Fatal(err)
						}
					}
					return n
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
	compare(b, 0, run(1, 400), run(64, 200))
}
