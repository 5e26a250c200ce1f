package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

// Flushed-end file format, version 1
//
// The file "flushed" says how much of its log is known to be on the disk, so
// that recovery can tell a torn tail from damage. It holds two slots, at bytes
// 0 and 512, so that no sector holds both; the rest is zeros up to byte 1,024.
// All integers are big-endian.
//
//	byte   0       4     6     8              16
//	       +-------+-----+-----+---------------+
//	       | magic | ver |flags| sequence      |
//	       +-------+-----+-----+---------------+
//	byte  16              24              32      36      40
//	      +---------------+---------------+-------+-------+
//	      | end           | from          | at    | heads |
//	      +---------------+---------------+-------+-------+
//	byte  40              48      52      56      60      64
//	      +---------------+-------+-------+-------+-------+
//	      | maxTime       | maxAt |entries| times | crc   |
//	      +---------------+-------+-------+-------+-------+
//
//	magic     uint32  0x53464C53, "SFLS"
//	ver       uint16  1; a reader refuses a greater one, of which the crc holds. That
//	                  stays where it is, so that a damaged version is no later one
//	flags     uint16  bit 0: the log may know of producers below the recovery point,
//	                  see snapshot.go; the rest must be 0
//	sequence  uint64  from 1, rising with each write; even in slot 0, odd in slot 1
//	end       int64   flushed end: every batch below it was synced before the write
//	from      int64   recovery point: the offset at which recovery begins to scan,
//	                  at most end, and within 4 MiB of it
//	at        uint32  byte position of that offset in its segment, or where the one
//	                  before ends if a new one has begun there
//	heads, maxTime, maxAt  as in a seal, for the batches of that segment below it
//	entries   uint32  CRC-32C of the entries of its .index file below it
//	times     uint32  CRC-32C of the entries of its .timeindex file below it
//	crc       uint32  CRC-32C of bytes 0 to 59
//
// Reading. The valid slot with the higher sequence counts; the other may be
// torn. No valid slot beside a segment with bytes is damage: the file is
// written, and synced, before the first segment. So is a log that ends below end.
// Beside a slot that is neither valid nor zeros, one may be the older of two that
// were synced, and a compaction have written the segment of its recovery point anew
// since: then at counts only if the batches below it are those that were there.
//
// Writing. After each flush, in place, the slot that was not the last one to be
// synced, so that one slot is whole whatever a crash tears; synced within a
// second while flushes go on. The file may therefore lag behind the truth but
// never leads it: before a truncation below end the lower end is written and
// synced first.
//
// Changing any of this needs a new version and a new file in testdata.
const (
	slotFile    = "flushed"
	slotMagic   = 0x53464C53
	slotVersion = 1
	slotSize    = 64
	slotCRC     = 60  // the checksum covers the bytes before it
	slotStride  = 512 // from one slot to the next: a sector
	slotPace    = time.Second
)

// A slot is the contents of one slot of the flushed-end file.
type slot struct {
	sequence  uint64
	end, from Offset
	at        uint32
	producers bool      // there may be some below from
	digest    digest    // of the segment, below from
	sums      indexSums // the checksums alone: of its index, below from
}

func appendSlot(b []byte, s slot) []byte {
	n := len(b)
	b = binary.BigEndian.AppendUint32(b, slotMagic)
	b = binary.BigEndian.AppendUint16(b, slotVersion)
	b = binary.BigEndian.AppendUint16(b, s.flags())
	b = binary.BigEndian.AppendUint64(b, s.sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(s.end))
	b = binary.BigEndian.AppendUint64(b, uint64(s.from))
	b = binary.BigEndian.AppendUint32(b, s.at)
	b = binary.BigEndian.AppendUint32(b, s.digest.heads)
	b = binary.BigEndian.AppendUint64(b, uint64(s.digest.maxTime))
	b = binary.BigEndian.AppendUint32(b, uint32(s.digest.maxAt))
	b = binary.BigEndian.AppendUint32(b, s.sums.entriesCRC)
	b = binary.BigEndian.AppendUint32(b, s.sums.timesCRC)
	return binary.BigEndian.AppendUint32(b, checksum(b[n:]))
}

const slotProducers = 1

func (s slot) flags() uint16 {
	if s.producers {
		return slotProducers
	}
	return 0
}

// errNoSlot says that a slot holds nothing to go by: it is torn, or was never
// written.
var errNoSlot = errors.New("log: no valid slot")

func parseSlot(b []byte) (slot, error) {
	if len(b) < slotSize || binary.BigEndian.Uint32(b) != slotMagic {
		return slot{}, errNoSlot
	}
	if binary.BigEndian.Uint32(b[slotCRC:]) != checksum(b[:slotCRC]) {
		return slot{}, errNoSlot
	}
	if binary.BigEndian.Uint16(b[4:]) > slotVersion {
		return slot{}, fmt.Errorf("%s: %w", slotFile, ErrNewer)
	}
	s := slot{
		sequence: binary.BigEndian.Uint64(b[8:]),
		end:      Offset(binary.BigEndian.Uint64(b[16:])),
		from:     Offset(binary.BigEndian.Uint64(b[24:])),
		at:       binary.BigEndian.Uint32(b[32:]),
		digest:   digest{binary.BigEndian.Uint32(b[36:]), int64(binary.BigEndian.Uint64(b[40:])), int32(binary.BigEndian.Uint32(b[48:]))},
		sums:     indexSums{entriesCRC: binary.BigEndian.Uint32(b[52:]), timesCRC: binary.BigEndian.Uint32(b[56:])},
	}
	flags := binary.BigEndian.Uint16(b[6:])
	s.producers = flags&slotProducers != 0
	if flags != s.flags() || s.sequence == 0 || s.from < 0 || s.end < s.from {
		return slot{}, errNoSlot
	}
	return s, nil
}

// parseSlots returns the slot of a flushed-end file that counts.
func parseSlots(b []byte) (slot, error) {
	best := slot{}
	for i := range 2 {
		at := i * slotStride
		s, err := parseSlot(b[min(at, len(b)):])
		switch {
		case errors.Is(err, ErrNewer):
			return slot{}, err
		case err == nil && s.sequence%2 == uint64(i) && s.sequence > best.sequence:
			best = s
		}
	}
	if best.sequence == 0 {
		return slot{}, errNoSlot
	}
	return best, nil
}

// hasBadSlot reports whether one of the two has been damaged, or torn.
func hasBadSlot(b []byte) bool {
	for i := range 2 {
		s := b[min(i*slotStride, len(b)):min(i*slotStride+slotSize, len(b))]
		written := slices.ContainsFunc(s, func(c byte) bool { return c != 0 })
		if _, err := parseSlot(s); err != nil && written {
			return true
		}
	}
	return false
}

// startSlot is the slot of a log that begins at an offset, and has no batch.
func startSlot(at Offset) slot { return slot{end: at, from: at, digest: newDigest()} }

// A slots is the open flushed-end file. It has one user at a time.
type slots struct {
	file File
	// last was written last; it may be unsynced.
	last slot
	// synced is the sequence of the slot that was synced last, and syncedAt when.
	synced   uint64
	syncedAt time.Time
	// unsure is set while synced is only what was read: a process that died may
	// have left it unsynced.
	unsure bool
	old    bool           // what was read may be older than the segments are
	buf    [slotSize]byte // of what is written
}

// createSlots makes the file with a first slot, and syncs it, but not its name.
func createSlots(fsys FS, dir string, s slot, now time.Time) (*slots, error) {
	f, err := fsys.Create(filepath.Join(dir, slotFile))
	if err != nil {
		return nil, err
	}
	w := &slots{file: f, last: s, syncedAt: now}
	w.last.sequence = 1
	b := make([]byte, 2*slotStride)
	appendSlot(b[slotStride:slotStride], w.last)
	if _, err := f.WriteAt(b, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := w.sync(now); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// openSlots opens the file and reads the slot that counts. The error matches
// fs.ErrNotExist, errNoSlot or ErrNewer.
func openSlots(fsys FS, dir string, now time.Time) (*slots, error) {
	f, err := fsys.Open(filepath.Join(dir, slotFile))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 2*slotStride)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	s, err := parseSlots(b[:n])
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &slots{file: f, last: s, synced: s.sequence, syncedAt: now, unsure: true, old: hasBadSlot(b[:n])}, nil
}

// write puts s where the slot that was synced last is not.
func (w *slots) write(s slot) error {
	if err := w.settle(w.syncedAt); err != nil {
		return err
	}
	s.sequence = w.last.sequence + 1
	if s.sequence%2 == w.synced%2 {
		s.sequence++
	}
	if err := w.put(s); err != nil {
		return err
	}
	w.last = s
	return nil
}

// put writes s where it belongs.
func (w *slots) put(s slot) error {
	_, err := w.file.WriteAt(appendSlot(w.buf[:0], s), int64(s.sequence%2)*slotStride)
	return err
}

// sync makes the last slot durable.
func (w *slots) sync(now time.Time) error {
	if !w.pending() {
		return nil
	}
	if w.unsure { // a sync of it may have failed: see opening.renew
		if err := w.put(w.last); err != nil {
			return err
		}
	}
	if err := syncFile(w.file); err != nil {
		return err
	}
	w.synced, w.syncedAt, w.unsure = w.last.sequence, now, false
	return nil
}

// settle makes sure that what was read at the start is what a crash would leave.
func (w *slots) settle(now time.Time) error {
	if !w.unsure {
		return nil
	}
	return w.sync(now)
}

// pending tells whether the last slot may be unsynced.
func (w *slots) pending() bool { return w.unsure || w.synced != w.last.sequence }

// due tells whether it has waited long enough.
func (w *slots) due(now time.Time) bool {
	return w.pending() && now.Sub(w.syncedAt) >= slotPace
}
