package log

import (
	"encoding/binary"
	"math"
	"sort"
)

// Time index format: Kafka's .timeindex
//
// Entries of 12 bytes, rising strictly in both fields, big-endian, no header:
//
//	time    int64  the latest time of a record in the segment so far, in milliseconds
//	offset  int32  last offset of the first batch with it, less the first offset of
//	               the segment
//
// An entry is written where one of the index is, if the time has risen; so no
// record up to an entry's offset is younger than its time. The latest time of the
// segment as a whole is in its seal.
const (
	timesSuffix   = ".timeindex"
	timeEntrySize = 12
)

type timeEntry struct {
	time   int64
	offset int32
}

// noTime is the latest time of a segment without records.
const noTime = math.MinInt64

func appendTimes(b []byte, times []timeEntry) []byte {
	for _, t := range times {
		b = binary.BigEndian.AppendUint64(b, uint64(t.time))
		b = binary.BigEndian.AppendUint32(b, uint32(t.offset))
	}
	return b
}

// parseTimes reads entries up to an offset, as far as they make sense.
func parseTimes(b []byte, below int64) []timeEntry {
	var times []timeEntry
	last := timeEntry{noTime, -1}
	for ; len(b) >= timeEntrySize; b = b[timeEntrySize:] {
		t := timeEntry{int64(binary.BigEndian.Uint64(b)), int32(binary.BigEndian.Uint32(b[8:]))}
		if t.time <= last.time || t.offset <= last.offset || int64(t.offset) >= below {
			break
		}
		times, last = append(times, t), t
	}
	return times
}

// findTime returns where in a segment to look for the first record at t or later:
// all up to and with the offset returned are earlier.
func findTime(times []timeEntry, base Offset, t int64) Offset {
	i := sort.Search(len(times), func(i int) bool { return times[i].time >= t })
	if i == 0 {
		return base - 1
	}
	return base + Offset(times[i-1].offset)
}
