package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Repairs is what [Repair] did.
type Repairs struct {
	// End is where the log ends now. What lay behind it was set aside.
	End Offset
	// Aside are the files that hold what was taken out of the log, without their
	// directory. Nothing ever reads or removes them: that is for people.
	Aside []string
}

const damagedSuffix = ".damaged"

// Repair makes a damaged log usable again, by giving up what is damaged and all that
// lies behind it, which may have been acknowledged: so nobody calls it but on
// purpose. What is given up is set aside in files of that directory, each with a name
// of its own, not removed. It
// is for a log of which there is no other copy; elsewhere, a copy is made anew from
// a peer.
//
// A checkpoint of epochs, bounds or a flushed end that is damaged is made again from
// the batches. The log counts as one that has lost something, see [Recovery], until
// [Log.Reported]. A log without damage is left alone, as is one whose [Log.Reset] was
// cut short, which Open completes; a compaction that was, is completed first. After a
// crash within it the log is damaged still, or repaired. A sync that failed is
// [ErrFailed]. Nobody else may have the directory open; see [LockDir].
func Repair(fsys FS, dir string, cfg Config) (Repairs, error) {
	x, err := inspect(fsys, dir)
	if err != nil {
		return Repairs{}, err
	}
	if x.bounds.reset {
		return Repairs{End: x.bounds.start}, nil // Open goes on with that
	}
	if end, whole := x.whole(); whole {
		return Repairs{End: end}, nil
	}
	if x.swapping() {
		// What the compaction was made from would come back beside what is set aside.
		if err := x.finishSwap(); err != nil {
			return Repairs{}, err
		}
		if x, err = inspect(fsys, dir); err != nil {
			return Repairs{}, err
		}
	}
	n := x.sound()
	if n == 0 {
		return Repairs{}, &CorruptError{File: slotFile, Offset: x.slot.end, Reason: "no segment is left; nothing can be repaired"}
	}
	r := &repair{inspection: x, n: n, cfg: cfg.withDefaults()}
	err = r.run()
	return r.Repairs, err
}

// whole tells whether there is nothing to repair, and where the log ends then.
func (x *inspection) whole() (end Offset, whole bool) {
	n := x.sound()
	if n < len(x.segments) || x.badBounds != nil || x.badEpochs != nil || x.badSlot != nil {
		return 0, false
	}
	if n == 0 {
		return x.slot.end, x.slot.sequence <= 1
	}
	end = x.walks[n-1].next
	return end, end >= x.flushed() && !x.missingFront()
}

// swapping tells whether a compaction was cut short behind its step 2.
func (x *inspection) swapping() bool {
	return slices.ContainsFunc(x.segments, func(s *segment) bool { return strings.HasSuffix(s.path, swapSuffix) })
}

// finishSwap completes that compaction, as Open does.
func (x *inspection) finishSwap() error {
	names, err := x.fsys.ReadDir(x.dir)
	if err != nil {
		return err
	}
	o := opening{log: &Log{fsys: x.fsys, dir: x.dir, bounds: x.bounds}}
	_, err = o.tidy(names)
	return err
}

// A repair keeps the first n segments of what was inspected, the last of them as far
// as it is sound.
type repair struct {
	*inspection
	Repairs
	n   int
	cfg Config
}

func (r *repair) run() error {
	if err := WriteFile(r.fsys, filepath.Join(r.dir, lostFile), lostMagic, lostVersion, nil); err != nil {
		return err
	}
	last, w := r.segments[r.n-1], r.walks[r.n-1]
	r.End = w.next
	if err := r.setAside(last, w); err != nil {
		return err
	}
	if err := r.mend(last, w); err != nil {
		return err
	}
	// From here on the log is as Open finds it after a crash.
	file, err := r.fsys.Open(last.path)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(w.pos), syncFile(file), file.Close()); err != nil {
		return err
	}
	return syncDir(r.fsys, r.dir)
}

// setAside gives the segments that are given up other names, newest first, and
// copies the one of which a part is kept.
func (r *repair) setAside(last *segment, w *walk) error {
	for i := len(r.segments) - 1; i >= r.n; i-- {
		s := r.segments[i]
		aside, err := r.aside(s)
		if err != nil {
			return err
		}
		if err := r.fsys.Rename(s.path, aside); err != nil {
			return err
		}
		r.Aside = append(r.Aside, filepath.Base(aside))
		for _, name := range []string{s.sealPath(), s.indexPath(), s.timesPath()} {
			if err := ignoreAbsent(r.fsys.Remove(name)); err != nil {
				return err
			}
		}
	}
	if w.pos < w.size {
		aside, err := r.aside(last)
		if err != nil {
			return err
		}
		if err := copyFile(r.fsys, last.path, aside); err != nil {
			return err
		}
		r.Aside = append(r.Aside, filepath.Base(aside))
	}
	if err := ignoreAbsent(r.fsys.Remove(last.sealPath())); err != nil {
		return err
	}
	return syncDir(r.fsys, r.dir)
}

// aside returns a name for what is given up of a segment, which no earlier repair has
// taken.
func (r *repair) aside(s *segment) (string, error) {
	name := s.path + damagedSuffix
	for n := 2; ; n++ {
		f, err := r.fsys.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		if err := f.Close(); err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s%s.%d", s.path, damagedSuffix, n)
	}
}

// mend writes the small files that were damaged, and the flushed end last: while it
// lies above the end of the log, the log counts as damaged.
func (r *repair) mend(last *segment, w *walk) error {
	write := func(name string, magic uint32, version uint16, b []byte) error {
		return WriteFile(r.fsys, filepath.Join(r.dir, name), magic, version, b)
	}
	b := r.bounds
	b.cleaned = min(b.cleaned, r.End) // what is written behind it was seen by no compaction
	if r.badBounds != nil || b != r.bounds || b.start > r.End || r.missingFront() {
		b.start = min(max(b.start, r.segments[0].base), r.End)
		if r.badBounds != nil {
			b.removed = r.End // nothing is known of tombstones: whoever lags begins anew
		}
		if err := write(boundsFile, boundsMagic, boundsVersion, b.encode()); err != nil {
			return err
		}
	}
	if r.badEpochs != nil {
		e := r.epochs.truncateEnd(r.End)
		if err := write(epochsFile, epochsMagic, epochsVersion, e.encode()); err != nil {
			return err
		}
	}
	s := slot{
		end: r.End, from: r.End, at: uint32(w.pos), digest: w.digest,
		sums: indexSums{entriesCRC: notSummed, timesCRC: notSummed},
	}
	if w.pos == 0 {
		s = startSlot(last.base)
	}
	s.producers = r.End > 0 // there may be some below
	return r.mark(s)
}

// mark makes s the flushed end.
func (r *repair) mark(s slot) error {
	now := r.cfg.Now()
	if r.badSlot != nil {
		made, err := createSlots(r.fsys, r.dir, s, now)
		if err != nil {
			return err
		}
		return errors.Join(made.file.Close(), syncDir(r.fsys, r.dir))
	}
	there, err := openSlots(r.fsys, r.dir, now)
	if err != nil {
		return err
	}
	return errors.Join(there.write(s), there.sync(now), there.file.Close())
}

// copyFile copies a file durably, its name apart.
func copyFile(fsys FS, from, to string) error {
	in, err := fsys.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fsys.Create(to)
	if err != nil {
		return err
	}
	buf := make([]byte, scanStep)
	for at := int64(0); ; {
		n, err := in.ReadAt(buf, at)
		if n > 0 {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return errors.Join(err, out.Close())
			}
			at += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return errors.Join(syncFile(out), out.Close())
		}
		if err != nil {
			return errors.Join(err, out.Close())
		}
	}
}
