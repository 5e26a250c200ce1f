package log

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
)

// Bounds, version 1: the payload of the file "bounds", in the manner of [WriteFile].
// It says what was taken out of a log on purpose, so that nobody takes it for
// damage, or for still being there. A log that nothing was taken out of has none.
//
//	start    int64  offset below which records were removed
//	removed  int64  offset below which tombstones may have been removed
//	cleaned  int64  offset below which a compaction has seen every key
//	horizon  int64  when the first tombstone below it may go, in milliseconds;
//	                2^63-1 for never
//	reset    uint8  1: what is there is to be forgotten; the log begins anew at start
//
// It is durable before that which it speaks of is done: before the segments below
// start are removed, before a compaction without the tombstones takes the place of
// what it was made from, and before the first file of a reset goes.
const (
	boundsFile    = "bounds"
	boundsMagic   = 0x53424E44 // "SBND"
	boundsVersion = 1
	boundsSize    = 33
)

type bounds struct {
	start, removed, cleaned Offset
	horizon                 int64
	reset                   bool
}

func (b bounds) encode() []byte {
	p := binary.BigEndian.AppendUint64(make([]byte, 0, boundsSize), uint64(b.start))
	p = binary.BigEndian.AppendUint64(p, uint64(b.removed))
	p = binary.BigEndian.AppendUint64(p, uint64(b.cleaned))
	p = binary.BigEndian.AppendUint64(p, uint64(b.horizon))
	if b.reset {
		return append(p, 1)
	}
	return append(p, 0)
}

func decodeBounds(p []byte) (bounds, error) {
	bad := &CorruptError{File: boundsFile, Offset: -1, Reason: "bounds"}
	if len(p) != boundsSize || p[boundsSize-1] > 1 {
		return bounds{}, bad
	}
	b := bounds{
		start:   Offset(binary.BigEndian.Uint64(p)),
		removed: Offset(binary.BigEndian.Uint64(p[8:])),
		cleaned: Offset(binary.BigEndian.Uint64(p[16:])),
		horizon: int64(binary.BigEndian.Uint64(p[24:])),
		reset:   p[32] == 1,
	}
	if b.start < 0 || b.removed < 0 || b.cleaned < 0 {
		return bounds{}, bad
	}
	return b, nil
}

// readBounds reads the bounds of a log; without the file, those of one that nothing
// was taken out of.
func readBounds(fsys FS, dir string) (bounds, error) {
	p, err := ReadFile(fsys, filepath.Join(dir, boundsFile), boundsMagic, boundsVersion)
	if errors.Is(err, fs.ErrNotExist) {
		return bounds{horizon: noHorizon}, nil
	}
	if err != nil {
		return bounds{}, err
	}
	return decodeBounds(p)
}

// saveBounds makes bounds durable, and then those of the log. Who calls holds the
// right of acquire.
func (l *Log) saveBounds(b bounds) error {
	if b == l.bounds {
		return nil
	}
	if err := WriteFile(l.fsys, filepath.Join(l.dir, boundsFile), boundsMagic, boundsVersion, b.encode()); err != nil {
		return l.failFinal(err)
	}
	l.bounds = b
	l.removed.Store(int64(b.removed))
	return nil
}

// RemovedBelow returns the offset below which tombstones may have been removed by
// [Log.Compact] here, or by another replica that this log was copied from. A
// follower whose log ends below it may never learn that a key it holds is gone: it
// has to begin anew, see [Log.Reset].
func (l *Log) RemovedBelow() Offset { return Offset(l.removed.Load()) }

// NoteRemoved raises what [Log.RemovedBelow] returns, durably: for a follower that
// has begun anew, and copies a log in which tombstones are missing.
func (l *Log) NoteRemoved(below Offset) error {
	if below <= l.RemovedBelow() {
		return nil
	}
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	if err := l.syncNames(); err != nil {
		return err
	}
	b := l.bounds
	b.removed = max(b.removed, below)
	return l.saveBounds(b)
}

// LowerRemoved lowers what [Log.RemovedBelow] returns, durably, to no less than where the
// log ends: for one that was being copied from a log that went further, or had more
// removed, and goes on otherwise. What comes behind its end from now on may be deleted by
// tombstones below the old bound, which are still to be seen.
func (l *Log) LowerRemoved(below Offset) error {
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	b := l.bounds
	b.removed = min(b.removed, max(below, l.End()))
	return l.saveBounds(b)
}
