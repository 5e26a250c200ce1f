package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
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
// as it was written.
//
//	file                      a bit is flipped                    the file is cut short
//	segment, below the        Open or Read names file and place   the same
//	  flushed end
//	segment, from there on    cut, and reported as a loss         cut; reported unless a
//	                                                              batch ends there
//	flushed                   held by the other slot; refused     refused, or held
//	                          if neither is valid, or newer
//	leader-epoch-checkpoint   refused                             refused
//	index                     held: it is a hint                  held
//	lost                      held: its name is what counts       held

// A specimen is a small directory with one of each file that a log makes.
type specimen struct {
	disk    *logtest.Disk
	cfg     log.Config
	batches []spot
	flushed log.Offset
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
	s := &specimen{disk: logtest.NewDisk(log.NewMemFS())}
	s.cfg = log.Config{SegmentBytes: 500, IndexInterval: 100, Memory: log.NewMemory(1), Now: ticking(300 * time.Millisecond)}
	l := open(t, s.disk, specimenDir, s.cfg)
	add := func(epoch log.Epoch, values ...string) {
		first, err := l.Append(epoch, batchOf(values...))
		require.NoError(t, err)
		b := batchOf(values...)
		b.Place(first, epoch)
		s.batches = append(s.batches, spot{data: b})
	}
	add(1, "a")
	add(1, "b", "bb", "bbb")
	_, err := l.Flush()
	require.NoError(t, err)
	require.NoError(t, l.Checkpoint())
	for i := range 9 {
		if i == 6 { // the recovery point stays here, unless the log is closed
			_, err := l.Flush()
			require.NoError(t, err)
		}
		add(log.Epoch(2+i/4), strings.Repeat("x", i), "c")
	}
	s.flushed, err = l.Flush()
	require.NoError(t, err)
	if killed {
		add(5, "d")
		add(5, "e", "ee")
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

// locate finds where each batch lies.
func (s *specimen) locate(t *testing.T) {
	i := 0
	for _, name := range s.files(t, ".log") {
		at := int64(0)
		for data := s.contents(t, name); len(data) > 0; i++ {
			b, rest, err := log.SplitBatch(data)
			require.NoError(t, err)
			require.Equal(t, s.batches[i].data, b)
			s.batches[i].file, s.batches[i].at = name, at
			at, data = at+int64(len(b)), rest
		}
	}
	require.Len(t, s.batches, i)
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
	for i, b := range s.batches {
		if b.data.Next() > v.end {
			break
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
				return v, fmt.Errorf("nothing at %d of %d", b.data.First(), v.end)
			}
			for _, want := range s.batches[i:] {
				if len(data) == 0 {
					break
				}
				if !strings.HasPrefix(string(data), string(want.data)) {
					return v, fmt.Errorf("a wrong read at %d: %x", want.data.First(), data)
				}
				data = data[len(want.data):]
			}
			if len(data) > 0 {
				return v, fmt.Errorf("bytes behind the last batch: %x", data)
			}
		}
	}
	return v, nil
}

// held: all that was flushed is served.
func (s *specimen) held(v verdict) bool {
	return v.opened == nil && v.read == nil && v.end >= s.flushed
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
	switch {
	case file == "leader-epoch-checkpoint" && (errors.Is(v.opened, log.ErrCorrupt) || errors.Is(v.opened, log.ErrNewer)):
		return "refused", nil
	case file == "flushed" && (errors.Is(v.opened, log.ErrCorrupt) || errors.Is(v.opened, log.ErrNewer)):
		return "refused", nil
	case file != "leader-epoch-checkpoint" && s.held(v) && v.end == last:
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
			for _, kind := range []string{".log", ".index", "flushed", "leader-epoch-checkpoint"} {
				require.NotEmpty(t, s.files(t, kind))
			}
		})
	}
}
