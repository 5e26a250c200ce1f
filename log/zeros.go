package log

import "time"

// Zeros ahead: a flush of bytes that lie over blocks written before changes no
// metadata, and takes about 0.6 of the time of one that makes a file grow. So
// behind the batches of a log that flushes often and little, zeros are written for
// the next flushes to go into. The next flush makes them durable too. Recovery
// takes them for what they are, the end of the log.
//
// Each byte is then written twice, which is worth it while a flush costs more than
// its bytes: measured, up to some 64 KiB.
const (
	zerosBytes   = 4 << 20     // the default of Config.ZerosAhead
	littleFlush  = 16 << 10    // a flush that is not longer is little
	littleInARow = 8           // so many of them begin it
	firstZeros   = 64 << 10    // a step doubles up to what zerosFlushes take
	zerosFlushes = 128         // so that fewer than one flush in a hundred pays for a step
	oftenEnough  = time.Second // from one flush to the next
)

var zeros [64 << 10]byte

// A flushHabit is how a log was flushed lately. The log's mutex guards it.
type flushHabit struct {
	little int   // flushes in a row that were little, and not long apart
	bytes  int64 // that they covered
	last   time.Time
	step   int64 // of zeros, the last one
}

// flushed notes a flush of so many bytes.
func (h *flushHabit) flushed(bytes int64, now time.Time) {
	if bytes > littleFlush || now.Sub(h.last) > oftenEnough {
		*h = flushHabit{}
	}
	if bytes > 0 && bytes <= littleFlush {
		h.little++
		h.bytes += bytes
	}
	h.last = now
}

// zeros returns how many are to be written, at most limit, where left bytes of
// them are there; 0 if none.
func (h *flushHabit) zeros(left, limit int64) int64 {
	if h.little < littleInARow {
		return 0
	}
	mean := h.bytes / int64(h.little)
	if left >= mean {
		return 0
	}
	h.step = min(max(2*h.step, firstZeros), max(mean*zerosFlushes, firstZeros), limit)
	return h.step
}

// fill writes n zeros behind the batches of the active segment, which end at end,
// and returns where the file ends. That it cannot is no harm if it leaves the file
// as it was. The writer alone calls it, before it publishes end.
func (l *Log) fill(file File, end, ahead, n int64) (int64, error) {
	to := min(end+n, l.cfg.SegmentBytes)
	for at := max(end, ahead); at < to; {
		part := zeros[:min(to-at, int64(len(zeros)))]
		if _, err := file.WriteAt(part, at); err != nil {
			l.mu.Lock()
			l.state.habit = flushHabit{}
			l.mu.Unlock()
			return 0, file.Truncate(end)
		}
		at += int64(len(part))
	}
	return max(ahead, to), nil
}

// trim cuts off the zeros of a segment that is to take no more batches, durably, so
// that no sealed segment has any after any crash.
func (l *Log) trim(s *segment) error {
	file, err := l.hold(s)
	if err != nil {
		return err
	}
	defer l.done(s)
	if s.ahead <= s.size {
		return nil
	}
	if err := file.Truncate(s.size); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.ahead = 0
	return nil
}
