package log_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A written is a batch of a producer, and where it went.
type written struct {
	sequence int32
	count    int
	first    log.Offset
}

// senders are idempotent producers that write to one log, and what each has written.
type senders struct {
	t    require.TestingT
	rng  *rand.Rand
	sent map[int64][]written
	// window is how many of the last batches of each are told from new ones: those
	// that may have been under way when the last was sent, five at a time.
	window int
}

func (s *senders) batch(id int64, sequence int32, count int) log.Batch {
	var b log.Builder
	b.Identify(id, 0, sequence)
	for i := range count {
		b.Append(1000, fmt.Appendf(nil, "%d", s.rng.Intn(5)), fmt.Appendf(nil, "%d/%d", id, int(sequence)+i), nil)
	}
	return b.Build()
}

// write appends n batches, of which some come twice.
func (s *senders) write(l *log.Log, n int) {
	for range n {
		id := int64(s.rng.Intn(4))
		next := int32(0)
		if all := s.sent[id]; len(all) > 0 {
			last := all[len(all)-1]
			next = last.sequence + int32(last.count)
		}
		count := 1 + s.rng.Intn(3)
		b := s.batch(id, next, count)
		_, duplicate, err := l.CheckProducer(b)
		require.NoError(s.t, err)
		require.False(s.t, duplicate)
		first, err := l.Append(max(l.LastEpoch(), 0), b)
		require.NoError(s.t, err)
		s.sent[id] = append(s.sent[id], written{next, count, first})
	}
}

// cut forgets what a log does not hold any more. What was under way beside it may be
// all that is left of the window.
func (s *senders) cut(end log.Offset) {
	s.window = 1
	for id, all := range s.sent {
		n := len(all)
		for n > 0 && all[n-1].first >= end {
			n--
		}
		s.sent[id] = all[:n]
	}
}

// check asks the log about what comes again, what comes next, and what is missing.
func (s *senders) check(l *log.Log) {
	for id, all := range s.sent {
		if len(all) == 0 {
			continue
		}
		for i, w := range all[max(len(all)-s.window, 0):] {
			first, duplicate, err := l.CheckProducer(s.batch(id, w.sequence, w.count))
			require.NoError(s.t, err, "producer %d, batch %d", id, i)
			require.True(s.t, duplicate)
			require.Equal(s.t, w.first, first)
		}
		last := all[len(all)-1]
		next := last.sequence + int32(last.count)
		_, duplicate, err := l.CheckProducer(s.batch(id, next, 1))
		require.NoError(s.t, err)
		require.False(s.t, duplicate)
		_, _, err = l.CheckProducer(s.batch(id, next+1, 1))
		require.ErrorIs(s.t, err, log.ErrOutOfSequence)
	}
}

func TestProducersAreRememberedWhateverHappens(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	for i := range 150 {
		s := &senders{t: t, rng: rng, sent: map[int64][]written{}, window: 5}
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", smallSegments)
		floor := log.Offset(0) // what was compacted was committed, and is not cut
		for range 6 {
			switch rng.Intn(6) {
			case 0:
				_, err := l.Flush()
				require.NoError(t, err)
			case 1:
				to := l.End() - log.Offset(rng.Intn(int(l.End())/2+1))
				require.NoError(t, l.Truncate(max(to, floor)))
				s.cut(l.End())
			case 2:
				require.NoError(t, l.Checkpoint())
			case 3:
				_, err := l.Compact(t.Context(), time.UnixMilli(5000), log.CompactConfig{UpTo: l.End(), MinDirty: 0.01})
				require.NoError(t, err)
				floor = l.End()
			default:
				s.write(l, rng.Intn(40))
			}
			s.check(l)
		}
		l = reopened(t, d, l, endings[i%3], smallSegments)
		if i%3 == 2 { // the power failed
			s.cut(l.End())
		}
		s.check(l)
		s.write(l, 30)
		s.check(l)
		require.NoError(t, l.Close())

		// A snapshot that is damaged or gone costs time, and no more.
		for _, name := range files(t, d, ".snapshot") {
			switch rng.Intn(3) {
			case 0:
				require.NoError(t, d.Remove("d/"+name))
			case 1:
				require.NoError(t, d.FlipBit("d/"+name, 16+rng.Int63n(10), 3))
			}
		}
		s.window = 1 // compaction leaves no more to learn from
		l = open(t, d, "d", smallSegments)
		s.check(l)
		require.NoError(t, l.Close())
	}
}

func TestProducersOfRecordsThatWereRemovedAreRemembered(t *testing.T) {
	for _, how := range endings {
		s := &senders{t: t, rng: rand.New(rand.NewSource(1)), sent: map[int64][]written{}, window: 5}
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", smallSegments)
		s.write(l, 60)
		require.NoError(t, l.DeleteBefore(l.End()))
		s.check(l)
		l = reopened(t, d, l, how, smallSegments)
		s.check(l)

		// Where a log was begun anew in the middle, nobody knows who wrote before.
		require.NoError(t, l.Reset(1000))
		_, _, err := l.CheckProducer(s.batch(1, 40, 1))
		require.ErrorIs(t, err, log.ErrUnknownProducer)
		l = reopened(t, d, l, how, smallSegments)
		_, _, err = l.CheckProducer(s.batch(1, 40, 1))
		require.ErrorIs(t, err, log.ErrUnknownProducer)
		require.NoError(t, l.Close())
	}
}

func TestProducersExpire(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	cfg := smallSegments
	cfg.Now = func() time.Time { return now }
	l := open(t, log.NewMemFS(), "d", cfg)
	s := &senders{t: t, rng: rand.New(rand.NewSource(1)), sent: map[int64][]written{}, window: 5}
	s.write(l, 10)
	now = now.Add(time.Hour)
	require.Zero(t, l.ExpireProducers(now, 2*time.Hour))
	require.Equal(t, len(s.sent), l.ExpireProducers(now, time.Hour))
	for id, all := range s.sent {
		last := all[len(all)-1]
		_, _, err := l.CheckProducer(s.batch(id, last.sequence+int32(last.count), 1))
		require.ErrorIs(t, err, log.ErrUnknownProducer)
	}
}

func TestALogWithoutProducersHasNoSnapshots(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 60)
	require.NoError(t, l.Close())
	for _, name := range files(t, d, "") {
		require.False(t, strings.HasSuffix(name, ".snapshot"), name)
	}
	s := &senders{t: t, rng: rand.New(rand.NewSource(1)), sent: map[int64][]written{}, window: 5}
	l = open(t, d, "d", smallSegments)
	s.write(l, 300)
	require.NoError(t, l.Close())
	require.NotEmpty(t, files(t, d, ".snapshot"))
	require.LessOrEqual(t, len(files(t, d, ".snapshot")), len(files(t, d, ".log"))+2)
}
