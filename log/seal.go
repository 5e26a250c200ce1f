package log

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
)

// Seal, version 1: the payload of "<first offset>.sum", in the manner of
// [WriteFile]. It is written once its segment is full and on the disk, and removed
// before a cut makes the segment grow again.
//
//	base      int64   first offset of the segment
//	end       int64   one past its last
//	size      int64   bytes of its file
//	heads     uint32  CRC-32C of the first 21 bytes of each batch in turn
//	maxTime   int64   latest time of a record, in milliseconds; -2^63 for none
//	maxAt     int32   last offset of the first batch with it, less base
//	entries   uint32  CRC-32C of the .index file
//	times     uint32  CRC-32C of the .timeindex file
//
// The first 21 bytes of a batch are what its own checksum leaves out, and that
// checksum itself: together they cover the file, and heads is made as batches are
// appended, without another look at them.
const (
	sealSuffix  = ".sum"
	sealMagic   = 0x5353554D // "SSUM"
	sealVersion = 1
	sealSize    = 48
)

// A seal says what a segment held when it was full.
type seal struct {
	base, end Offset
	size      int64
	digest    digest
	sums      indexSums // the checksums alone
}

// A digest is what is known of all the batches of a segment, up to some place.
type digest struct {
	heads   uint32
	maxTime int64
	maxAt   int32
}

const headSize = atAttrs // what heads covers of each batch

// newDigest returns that of a segment without batches.
func newDigest() digest { return digest{maxTime: noTime} }

// add takes in the next batch, of a segment with that first offset.
func (d *digest) add(b Batch, base Offset) {
	d.heads = updateChecksum(d.heads, b[:headSize])
	if t := b.MaxTimestamp(); b.Count() > 0 && t > d.maxTime {
		d.maxTime, d.maxAt = t, int32(min(b.Last()-base, math.MaxInt32))
	}
}

func (s *seal) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, sealSize), uint64(s.base))
	b = binary.BigEndian.AppendUint64(b, uint64(s.end))
	b = binary.BigEndian.AppendUint64(b, uint64(s.size))
	b = binary.BigEndian.AppendUint32(b, s.digest.heads)
	b = binary.BigEndian.AppendUint64(b, uint64(s.digest.maxTime))
	b = binary.BigEndian.AppendUint32(b, uint32(s.digest.maxAt))
	b = binary.BigEndian.AppendUint32(b, s.sums.entriesCRC)
	return binary.BigEndian.AppendUint32(b, s.sums.timesCRC)
}

func decodeSeal(b []byte, name string) (*seal, error) {
	if len(b) != sealSize {
		return nil, &CorruptError{File: name, Offset: -1, Reason: "length"}
	}
	s := &seal{
		base: Offset(binary.BigEndian.Uint64(b)), end: Offset(binary.BigEndian.Uint64(b[8:])),
		size:   int64(binary.BigEndian.Uint64(b[16:])),
		digest: digest{binary.BigEndian.Uint32(b[24:]), int64(binary.BigEndian.Uint64(b[28:])), int32(binary.BigEndian.Uint32(b[36:]))},
		sums:   indexSums{entriesCRC: binary.BigEndian.Uint32(b[40:]), timesCRC: binary.BigEndian.Uint32(b[44:])},
	}
	if s.base < 0 || s.end <= s.base || s.size < BatchOverhead || s.digest.maxAt < 0 {
		return nil, &CorruptError{File: name, Offset: -1, Reason: "fields"}
	}
	return s, nil
}

// readSeal returns the seal of a segment of that size; nil if it has none that fits.
func readSeal(fsys FS, s *segment, size int64) (*seal, error) {
	name := s.sealPath()
	b, err := ReadFile(fsys, name, sealMagic, sealVersion)
	var found *seal
	if err == nil {
		found, err = decodeSeal(b, filepath.Base(name))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrCorrupt):
		return nil, nil // as if it had not been sealed: that is done again
	case err != nil:
		return nil, err
	case found.base != s.base || found.size != size:
		return nil, nil
	}
	return found, nil
}

// readSealed reads the index of a segment if its seal bears it out. The index is
// not loaded if not; the seal may be nil.
func readSealed(fsys FS, s *segment, size int64) (index, *seal, error) {
	found, err := readSeal(fsys, s, size)
	if err != nil || found == nil {
		return index{}, nil, err
	}
	e, t, err := readHints(fsys, s, size)
	if err != nil || checksum(e) != found.sums.entriesCRC || checksum(t) != found.sums.timesCRC {
		return index{}, found, err
	}
	x := index{entries: parseEntries(e, size), times: parseTimes(t, math.MaxInt64), loaded: true, whole: true, clean: true}
	x.savedEntries, x.savedTimes = len(x.entries), len(x.times)
	return x, found, nil
}

// sealFull seals the segments that are full and on the disk, and not sealed yet. A
// seal is a help: that it cannot be written, but for a failed sync, is no error of
// who appends, and the next flush tries again. Who calls holds the right of acquire.
func (l *Log) sealFull() error {
	l.mu.Lock()
	due := l.state.unsealed
	var full []*segment
	for i := 0; due && i < len(l.state.segments)-1; i++ {
		if s := l.state.segments[i]; !s.sealed && !s.dirty {
			s.pin()
			full = append(full, s)
		}
	}
	l.state.unsealed = false
	l.mu.Unlock()
	var failed error
	for _, s := range full {
		err := failed
		if err == nil {
			err = l.sealOne(s)
		}
		l.done(s)
		if final(err) {
			failed = err
		}
		l.mu.Lock()
		s.sealed = err == nil
		l.state.unsealed = l.state.unsealed || err != nil
		l.mu.Unlock()
	}
	if failed != nil {
		return l.fail(failed)
	}
	return nil
}

func (l *Log) sealOne(s *segment) error {
	file, size, err := l.open(s)
	if err != nil {
		return err
	}
	if _, _, err := l.loadIndex(s, file, size); err != nil {
		return err
	}
	l.mu.Lock()
	known, digested, end := s.seal != nil, s.digested, l.state.endOf(s)
	l.mu.Unlock()
	if known || !digested {
		return nil // it was sealed before; or it is damaged, which is for its readers to hear
	}
	if err := l.saveIndex(s, true); err != nil {
		return err
	}
	l.mu.Lock()
	made := &seal{base: s.base, end: end, size: size, digest: s.digest, sums: s.index.sum(size, math.MaxInt64)}
	l.mu.Unlock()
	if err := WriteFile(l.fsys, s.sealPath(), sealMagic, sealVersion, made.encode()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.seal = made
	return nil
}

// endOf returns where a sealed segment ends: where the next one begins. The log's
// mutex is held.
func (s *state) endOf(sealed *segment) Offset {
	return s.segments[findSegment(s.segments, sealed.base)+1].base
}
