package log_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// What a flipped bit and a file cut short come to, by file. "Read" is what a read
// of the batch says that the log was open for, and "held" means that all is served
// as it was written: records, times, and verdicts on what producers send again.
//
//	file                      a bit is flipped                    the file is cut short
//	segment, below the start  held; or Read names file and        as what follows it
//	                          place, if it stands in the way
//	segment, below the        Open or Read names file and place   the same
//	  flushed end
//	segment, from there on    cut, and reported as a loss         cut; reported unless a
//	                                                              batch ends there
//	flushed                   held by the other slot; refused     refused, or held
//	                          if neither is valid, or newer
//	leader-epoch-checkpoint   refused                             refused
//	bounds                    refused                             refused
//	index, timeindex, sum     held: they are hints                held
//	snapshot                  held: by the one before it, and     held
//	                          the batches behind that
//	lost                      held: its name is what counts       held
//
// A compacted segment is one like others, and a filler in it a batch. Where a batch
// is reported as bad, what is asked by time or of a producer is answered right, or
// with an error.

// A specimen is a small directory with one of each file that a log makes.
type specimen struct {
	disk    *logtest.Disk
	cfg     log.Config
	batches []spot
	flushed log.Offset
	start   log.Offset

	clock   int64
	sent    map[int64]int32
	written []log.Record // by offset
	left    []log.Record // those that a reader finds
}

// A spot is a batch and where it lies.
type spot struct {
	file string
	at   int64
	data log.Batch
}

const specimenDir = "d"

// newSpecimen makes one whose log was closed, or whose process was killed: then it
// has batches that were not flushed, and an older recovery point.
func newSpecimen(t *testing.T, killed bool) *specimen {
	s := &specimen{disk: logtest.NewDisk(log.NewMemFS()), clock: 1000, sent: map[int64]int32{}}
	s.cfg = log.Config{SegmentBytes: 550, IndexInterval: 100, Memory: log.NewMemory(1), Now: ticking(300 * time.Millisecond)}
	l := open(t, s.disk, specimenDir, s.cfg)
	s.add(t, l, 1, -1, "a")
	s.add(t, l, 1, -1, "b", "k", "c")
	s.add(t, l, 1, 5, "k")
	s.add(t, l, 1, -1, "k")
	s.add(t, l, 1, 6, "k", "k")
	require.NoError(t, l.Roll())
	c, err := l.Compact(t.Context(), time.UnixMilli(s.clock), log.CompactConfig{UpTo: l.End()})
	require.NoError(t, err)
	require.True(t, c.Ran)
	require.NoError(t, l.DeleteBefore(2), "in the middle of a batch")
	s.start = l.Start()
	require.NoError(t, l.Checkpoint())
	for i := range 7 {
		if i == 5 { // the recovery point stays here, unless the log is closed
			_, err := l.Flush()
			require.NoError(t, err)
		}
		producer := int64(-1)
		if i%3 == 0 {
			producer = 5
		}
		s.add(t, l, log.Epoch(2+i/4), producer, strings.Repeat("x", i), "c")
	}
	s.flushed, err = l.Flush()
	require.NoError(t, err)
	if killed {
		s.add(t, l, 5, 5, "d")
		s.add(t, l, 5, -1, "e", "ee")
		s.disk.Fail(errDied)
		_ = l.Close()
		s.disk.Revive()
	} else {
		require.NoError(t, l.Close())
		require.NoError(t, log.WriteFile(s.disk, specimenDir+"/lost", 0x534C5354, 1, nil))
	}
	s.locate(t)
	return s
}

// add appends a batch, of an idempotent producer if there is one.
func (s *specimen) add(t *testing.T, l *log.Log, epoch log.Epoch, producer int64, keys ...string) {
	var b log.Builder
	if producer >= 0 {
		b.Identify(producer, 0, s.sent[producer])
		s.sent[producer] += int32(len(keys))
	}
	for _, k := range keys {
		s.clock += 10
		r := log.Record{Offset: log.Offset(len(s.written)), Timestamp: s.clock, Key: []byte(k), Value: []byte{'v'}}
		b.Append(r.Timestamp, r.Key, r.Value, nil)
		s.written = append(s.written, r)
	}
	_, err := l.Append(epoch, b.Build())
	require.NoError(t, err)
}

// locate finds where each batch lies, and that it is of what was written.
func (s *specimen) locate(t *testing.T) {
	fillers := 0
	for _, name := range s.files(t, ".log") {
		at := int64(0)
		for data := s.contents(t, name); len(data) > 0; {
			b, rest, err := log.SplitBatch(data)
			require.NoError(t, err)
			require.NoError(t, b.Check())
			if b.Count() == 0 && b.ProducerID() < 0 {
				fillers++
			}
			for r, err := range b.Records() {
				require.NoError(t, err)
				require.Equal(t, s.written[r.Offset], r)
				if r.Offset >= s.start {
					s.left = append(s.left, r)
				}
			}
			s.batches = append(s.batches, spot{name, at, b})
			at, data = at+int64(len(b)), rest
		}
	}
	require.Equal(t, log.Offset(len(s.written)), s.batches[len(s.batches)-1].data.Next())
	require.Positive(t, fillers)
	require.Less(t, len(s.left), len(s.written))
}

func (s *specimen) files(t *testing.T, suffix string) (names []string) {
	all, err := s.disk.ReadDir(specimenDir)
	require.NoError(t, err)
	for _, name := range all {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}

func (s *specimen) contents(t *testing.T, name string) []byte {
	t.Helper()
	f, err := s.disk.Open(filepath.Join(specimenDir, name))
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	return b
}

// A verdict is what a log came to whose file was damaged.
type verdict struct {
	opened error
	lost   bool
	end    log.Offset
	read   error // the first one of all batches that are there
	missed spot  // of read
	asked  error // the first one about a time or a producer
}

// judge damages a copy, opens it, and reads each batch by itself and with those
// that follow. What is read is byte for byte what was written.
func (s *specimen) judge(damage func(d *logtest.Disk) error) (v verdict, err error) {
	d, err := s.disk.Clone(specimenDir, log.NewMemFS())
	if err != nil {
		return v, err
	}
	if err := damage(d); err != nil {
		return v, err
	}
	cfg := s.cfg
	cfg.Now = ticking(300 * time.Millisecond)
	l, rec, err := log.Open(d, specimenDir, cfg)
	if err != nil {
		v.opened = err
		return v, nil
	}
	defer l.Close()
	v.lost, v.end = rec.Lost, l.End()
	if l.Start() != s.start {
		return v, fmt.Errorf("the log starts at %d", l.Start())
	}
	if err := s.readAll(l, &v); err != nil {
		return v, err
	}
	if err := s.askTimes(l, &v); err != nil {
		return v, err
	}
	return v, s.askProducers(l, &v)
}

func (s *specimen) readAll(l *log.Log, v *verdict) error {
	for i, b := range s.batches {
		if b.data.Next() > v.end {
			break
		}
		if b.data.First() < s.start {
			continue
		}
		for _, limit := range []int{1, 1 << 20} {
			data, err := l.Read(b.data.First(), v.end, limit)
			if err != nil {
				if v.read == nil {
					v.read, v.missed = err, b
				}
				continue
			}
			if len(data) == 0 {
				return fmt.Errorf("nothing at %d of %d", b.data.First(), v.end)
			}
			for _, want := range s.batches[i:] {
				if len(data) == 0 {
					break
				}
				if !strings.HasPrefix(string(data), string(want.data)) {
					return fmt.Errorf("a wrong read at %d: %x", want.data.First(), data)
				}
				data = data[len(want.data):]
			}
			if len(data) > 0 {
				return fmt.Errorf("bytes behind the last batch: %x", data)
			}
		}
	}
	return nil
}

// askTimes looks for times of records, for one in between, and for one behind all.
func (s *specimen) askTimes(l *log.Log, v *verdict) error {
	n := len(s.left)
	for _, at := range []int64{0, s.left[n/2].Timestamp - 1, s.left[n-1].Timestamp, s.clock + 1} {
		off, ok, err := l.OffsetAt(at, v.end)
		if err != nil {
			v.asked = cmp.Or(v.asked, err)
			continue
		}
		i := slices.IndexFunc(s.left, func(r log.Record) bool { return r.Timestamp >= at && r.Offset < v.end })
		if ok != (i >= 0) || ok && off != s.left[i].Offset {
			return fmt.Errorf("time %d is at %d, %v", at, off, ok)
		}
	}
	return nil
}

// askProducers sends again what is there, which the log must know, and what was cut,
// which it must not.
func (s *specimen) askProducers(l *log.Log, v *verdict) error {
	for _, b := range s.batches {
		if b.data.ProducerID() < 0 {
			continue
		}
		var again log.Builder
		again.Identify(b.data.ProducerID(), b.data.ProducerEpoch(), b.data.BaseSequence())
		for range b.data.Next() - b.data.First() {
			again.Append(0, nil, nil, nil)
		}
		first, duplicate, err := l.CheckProducer(again.Build())
		switch {
		case err != nil:
			v.asked = cmp.Or(v.asked, err)
		case duplicate != (b.data.Next() <= v.end) || duplicate && first != b.data.First():
			return fmt.Errorf("producer %d: what is at %d is at %d, %v", b.data.ProducerID(), b.data.First(), first, duplicate)
		}
	}
	return nil
}

// held: all that was flushed is served.
func (s *specimen) held(v verdict) bool {
	return v.opened == nil && v.read == nil && v.asked == nil && v.end >= s.flushed
}

// blames tells whether an error names the file and the batch that was damaged.
func blames(err error, b spot) bool {
	c, ok := errors.AsType[*log.CorruptError](err)
	return ok && c.File == b.file && c.At == b.at && c.Offset == b.data.First()
}

// at returns the batch that holds a byte of a segment.
func (s *specimen) at(file string, at int64) (spot, bool) {
	for _, b := range s.batches {
		if b.file == file && b.at <= at && at < b.at+int64(len(b.data)) {
			return b, true
		}
	}
	return spot{}, false
}

// expect checks a verdict on damage to a byte of a file, or of all from it on, and
// names what came of it.
func (s *specimen) expect(file string, at int64, cut bool, v verdict) (string, error) {
	wrong := fmt.Errorf("%+v", v)
	last := s.batches[len(s.batches)-1].data.Next()
	switch b, ok := s.at(file, at); {
	case ok && b.data.First() < s.start && v.opened == nil && v.end == last && blames(v.read, b):
		return "reported by Read", nil // the way to what follows leads over its header
	case ok && b.data.First() < s.start && !cut && s.held(v) && v.end == last:
		return "held below the start", nil
	case ok && b.data.First() < s.start && !cut:
		return "", wrong
	case ok && b.data.First() < s.flushed && blames(v.opened, b):
		return "refused", nil
	case ok && b.data.First() < s.flushed && cut && errors.Is(v.opened, log.ErrCorrupt):
		return "refused", nil
	case ok && b.data.First() < s.flushed && v.opened == nil && v.end == last && blames(v.read, v.missed) &&
		(v.missed.data.First() == b.data.First() || cut && v.missed.data.First() >= b.data.First() && v.missed.file == file):
		return "reported by Read", nil
	case ok && b.data.First() < s.flushed:
		return "", wrong
	case ok && s.held(v) && v.end == b.data.First() && (v.lost || cut && zeros(b.data[:at-b.at])):
		return "cut", nil
	case ok:
		return "", wrong
	}
	needed := file == "leader-epoch-checkpoint" || file == "bounds"
	switch {
	case needed && (errors.Is(v.opened, log.ErrCorrupt) || errors.Is(v.opened, log.ErrNewer)):
		return "refused", nil
	case file == "flushed" && (errors.Is(v.opened, log.ErrCorrupt) || errors.Is(v.opened, log.ErrNewer)):
		return "refused", nil
	case !needed && s.held(v) && v.end == last:
		return "held", nil
	}
	return "", wrong
}

func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// A damage is one that a test does to a file.
type damage struct {
	file string
	at   int64
	bit  uint
	cut  bool
}

func (x damage) do(d *logtest.Disk) error {
	name := filepath.Join(specimenDir, x.file)
	if !x.cut {
		return d.FlipBit(name, x.at, x.bit)
	}
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(x.at), f.Sync(), f.Close())
}

// all returns every flip of a bit, and every length below the whole.
func (s *specimen) all(t *testing.T) (all []damage) {
	for _, name := range s.files(t, "") {
		for at := range int64(len(s.contents(t, name))) {
			for bit := range uint(8) {
				all = append(all, damage{name, at, bit, false})
			}
			all = append(all, damage{name, at, 0, true})
		}
	}
	return all
}

func TestEveryFlippedBitAndEveryLengthOfEveryFile(t *testing.T) {
	for name, killed := range map[string]bool{"closed": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			s := newSpecimen(t, killed)
			all := s.all(t)
			var mu sync.Mutex // guards outcomes
			outcomes := map[string]int{}
			var wg sync.WaitGroup
			workers := runtime.GOMAXPROCS(0)
			step := len(all) / share(len(all))
			for step%3 == 0 {
				step++ // prime to the nine damages of a byte
			}
			for i := range workers {
				wg.Go(func() {
					for j := i * step; j < len(all); j += workers * step {
						x := all[j]
						v, err := s.judge(x.do)
						outcome := ""
						if err == nil {
							outcome, err = s.expect(x.file, x.at, x.cut, v)
						}
						if err != nil {
							t.Errorf("%+v: %v", x, err)
							return
						}
						kind := filepath.Ext(x.file)
						if kind == "" {
							kind = x.file
						}
						mu.Lock()
						outcomes[fmt.Sprintf("%s %s, cut %v", kind, outcome, x.cut)]++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			t.Log(len(all), outcomes)
			for _, kind := range []string{
				".log", ".index", ".timeindex", ".sum", ".snapshot", "flushed", "leader-epoch-checkpoint", "bounds",
			} {
				require.NotEmpty(t, s.files(t, kind), kind)
			}
		})
	}
}
