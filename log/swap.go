package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Compaction writes what is left of a run of neighbouring segments into one file,
// and puts that in their place:
//
//	1  <first>.cleaned is written and synced
//	2  it is renamed to <first>-<end>.swap, and the directory is synced: from here on
//	   it is what counts, and its name says what it stands for
//	3  the originals lose what lies beside them, and become <offset>.deleted; the
//	   directory is synced
//	4  the .swap is renamed to <first>.log, and the directory is synced
//	5  the .deleted are removed
//
// Open removes a .cleaned or a .deleted, and goes on behind step 2 where it finds a
// .swap. Who reads an original has it open, under whatever name, until it is done.
const (
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".swap"
	deletedSuffix = ".deleted"
)

func (l *Log) swapPath(base, end Offset) string {
	return filepath.Join(l.dir, fmt.Sprintf("%020d-%020d%s", base, end, swapSuffix))
}

// parseSwap tells whether a file name is that of a finished compaction, and of what.
func parseSwap(name string) (base, end Offset, ok bool) {
	rest, ok := strings.CutSuffix(name, swapSuffix)
	if !ok {
		return 0, 0, false
	}
	first, last, ok := strings.Cut(rest, "-")
	if !ok {
		return 0, 0, false
	}
	base, ok = parseName(first, "")
	if !ok {
		return 0, 0, false
	}
	end, ok = parseName(last, "")
	return base, end, ok && base < end
}

// A rewritten is a segment that is to take the place of others.
type rewritten struct {
	*segment
	end Offset
}

// rewrite compacts a run of segments into one, which takes their place.
func (p *pass) rewrite(c compaction, run []*segment, end Offset) (stats compactStats, err error) {
	l := p.l
	size := int64(0)
	for _, s := range run {
		n, err := l.pinOpen(s, p.cuts)
		if err != nil {
			return stats, err
		}
		defer l.done(s)
		size += n
	}
	base := run[0].base
	made := rewritten{&segment{base: base, path: segmentPath(l.dir, base), digest: newDigest(), digested: true}, end}
	made.index = index{loaded: true, whole: true}
	temp := made.beside(cleanedSuffix)
	if made.file, err = l.fsys.Create(temp); err != nil {
		return stats, err
	}
	r := newRewriter(c, base, size)
	err = p.write(r, run, made)
	if err == nil && (r.stats.changed || len(run) > 1) {
		var placed bool
		if placed, err = l.swap(p.cuts, run, made, r.stats.removedBelow); placed {
			return r.stats, err
		}
	}
	// Written in vain. If that fails too, the next Open removes it.
	return r.stats, errors.Join(err, made.file.Close(), ignoreAbsent(l.fsys.Remove(temp)))
}

// pinOpen keeps the file of a segment open until done, from now on, and returns the
// bytes of batches in it.
func (l *Log) pinOpen(s *segment, cuts int) (size int64, err error) {
	l.mu.Lock()
	if l.state.cuts != cuts || s.dead {
		l.mu.Unlock()
		return 0, errMoved
	}
	s.pin()
	l.mu.Unlock()
	if _, size, err = l.open(s); err != nil {
		l.done(s)
	}
	return size, err
}

// write writes what is left of a run of segments, and syncs it.
func (p *pass) write(r *rewriter, run []*segment, made rewritten) error {
	var buf []byte
	out := func(most int) error {
		if len(buf) < most {
			return nil
		}
		if err := p.l.cfg.Space.take(len(buf)); err != nil {
			return err
		}
		if _, err := made.file.WriteAt(buf, made.size); err != nil {
			return err
		}
		p.l.note(made.segment, buf, made.size, 0, keepEpochs)
		made.size += int64(len(buf))
		err := p.pause(len(buf))
		buf = buf[:0]
		return err
	}
	for _, s := range run {
		err := p.walk(s, func(b Batch) (err error) {
			if buf, err = r.rewrite(buf, b); err != nil {
				return err
			}
			return out(scanStep)
		})
		if err != nil {
			return err
		}
	}
	buf = r.finish(buf)
	if err := out(1); err != nil {
		return err
	}
	if err := made.file.Sync(); err != nil {
		return p.l.fail(err)
	}
	return nil
}

// swap puts a segment that is complete and synced in the place of a run of others,
// whose files are open and pinned. placed: it is one of the log, whatever the error.
func (l *Log) swap(cuts int, run []*segment, made rewritten, removed Offset) (placed bool, err error) {
	if err := l.acquire(); err != nil {
		return false, err
	}
	defer l.release()
	// What recovery scans must not be what is swapped.
	if err := l.settle(); err != nil {
		return false, err
	}
	i := l.findRun(cuts, run)
	if i < 0 {
		return false, errMoved
	}
	b := l.bounds
	b.removed = max(b.removed, removed)
	if err := l.saveBounds(b); err != nil {
		return false, err
	}
	if err := l.swapFiles(run, made); err != nil {
		return false, err
	}
	l.mu.Lock()
	st := &l.state
	i = slices.Index(st.segments, run[0])
	st.segments = slices.Concat(st.segments[:i], []*segment{made.segment}, st.segments[i+len(run):])
	st.hints = hints{}
	st.tail.forget(made.end)
	st.unsealed = true
	if slices.Contains(run, st.warm) {
		st.warm = nil
	}
	made.pin() // as if it were in use, so that it is closed when it is not
	files := l.retire(run)
	l.mu.Unlock()
	l.done(made.segment)
	_ = closeAll(files)
	if err := l.removeAside(run); err != nil {
		return true, err // the next Open removes it
	}
	return true, l.sealFull()
}

// removeAside does step 5.
func (l *Log) removeAside(run []*segment) error {
	for _, s := range run {
		if err := ignoreAbsent(l.fsys.Remove(s.beside(deletedSuffix))); err != nil {
			return err
		}
	}
	return nil
}

// findRun returns where a run of segments is in the log; -1 if it is there no more.
func (l *Log) findRun(cuts int, run []*segment) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.cuts != cuts {
		return -1
	}
	i := slices.Index(l.state.segments, run[0])
	if i < 0 || i+len(run) >= len(l.state.segments) || !slices.Equal(l.state.segments[i:i+len(run)], run) {
		return -1
	}
	return i
}

// swapFiles does steps 2 to 4. Behind step 2 an error is final: the disk is neither
// as it was nor as it is to be, and the next Open knows what to do.
func (l *Log) swapFiles(run []*segment, made rewritten) error {
	swap := l.swapPath(made.base, made.end)
	if err := l.fsys.Rename(made.beside(cleanedSuffix), swap); err != nil {
		return err
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return l.fail(err)
	}
	if err := l.finishSwap(run, swap, made.base); err != nil {
		return l.fail(err)
	}
	return nil
}

// finishSwap does steps 3 and 4, however far an earlier attempt came.
func (l *Log) finishSwap(run []*segment, swap string, base Offset) error {
	for _, s := range run {
		if err := l.setAside(s); err != nil {
			return err
		}
	}
	if err := syncDir(l.fsys, l.dir); err != nil {
		return err
	}
	if err := l.fsys.Rename(swap, segmentPath(l.dir, base)); err != nil {
		return err
	}
	return syncDir(l.fsys, l.dir)
}

// setAside does step 3 for one segment, unless it was done before.
func (l *Log) setAside(s *segment) error {
	if err := l.removeBeside(s); err != nil {
		return err
	}
	return ignoreAbsent(l.fsys.Rename(s.path, s.beside(deletedSuffix)))
}
