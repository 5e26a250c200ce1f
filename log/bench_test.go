package log_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
//	share            speed of the log as a part of the limit's, of the same round
//	limit-ns         for a batch
//	log-ns           for a batch
//	limit-of-figure  speed of the limit as a part of what the machine of reference
//	                 did; below 0.7 something else was at work, and the run is void
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

// compare runs rounds of both sides, and reports their medians. The figure is what
// the limit takes for a batch on the machine of reference; 0 if it is not known.
func compare(b *testing.B, figure time.Duration, limit, ours side) {
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
	if figure > 0 {
		b.ReportMetric(float64(figure)/median(limits), "limit-of-figure")
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
	l.Log, _, err = log.Open(log.OS(), filepath.Join(b.TempDir(), "log"), log.Config{MaxBatchBytes: 16 << 20})
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
