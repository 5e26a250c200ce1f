package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Config says how a log is kept. The zero value is complete.
type Config struct {
	// SegmentBytes is the size at which a new segment file is begun. A batch is
	// never split.
	//
	// Zero means 64 MiB; above 1 GiB means 1 GiB.
	SegmentBytes int64

	// IndexInterval is how many bytes lie between two entries of the index.
	//
	// Zero means 4 KiB.
	IndexInterval int

	// MaxBatchBytes is how many bytes of records a batch may hold, as they are stored.
	// What compressed ones inflate to, [MaxInflatedBytes] bounds.
	//
	// Zero means 1 MiB; above 1 GiB means 1 GiB.
	MaxBatchBytes int

	// Memory is where the newest batches are kept for readers, among those of all
	// logs that share it. What is appended at once and longer than half of it, or
	// than 512 KiB, is not kept, unless that takes no copy; see [Log.Replicate].
	//
	// Nil means 1 MiB for this log alone.
	Memory *Memory

	// ZerosAhead bounds the zeros that are kept written behind the last batch of a
	// log that is flushed often and little, so that a flush need not make its file
	// grow. Other logs have none, nor has one that was closed.
	//
	// Zero means 4 MiB; below zero there are none, which suits a disk whose Sync
	// costs nothing, such as a [MemFS].
	ZerosAhead int64

	// Flushes bounds the syncs in flight at once, among all logs that share it.
	//
	// Nil means no bound: each log has one in flight at most.
	Flushes *FlushLimit

	// Space keeps part of the disk free, among all logs that share it.
	//
	// Nil means that the disk alone says when it is full.
	Space *Space

	// Now tells the time, by which the flushed-end file is synced once a second.
	//
	// Nil means [time.Now].
	Now func() time.Time
}

const maxSegmentBytes = 1 << 30

func (c Config) withDefaults() Config {
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.IndexInterval <= 0 {
		c.IndexInterval = 4 << 10
	}
	if c.MaxBatchBytes <= 0 {
		c.MaxBatchBytes = 1 << 20
	}
	if c.Memory == nil {
		c.Memory = NewMemory(memoryBytes)
	}
	switch {
	case c.ZerosAhead == 0:
		c.ZerosAhead = zerosBytes
	case c.ZerosAhead < 0:
		c.ZerosAhead = 0
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.SegmentBytes = min(c.SegmentBytes, maxSegmentBytes)
	c.MaxBatchBytes = min(c.MaxBatchBytes, maxSegmentBytes)
	return c
}

// A Log is one partition's records on one disk.
type Log struct {
	fsys FS
	dir  string
	cfg  Config
	view bool // see View

	// start, end and flushed bound what the log holds; flushed is at most end.
	// They are written under mu and read anywhere.
	start, end, flushed atomic.Int64
	removed             atomic.Int64 // bounds.removed, for readers

	mu      sync.Mutex // guards state; never held across a call of a File or an FS
	state   state
	changed sync.Cond // state.busy or state.err has changed; uses mu

	// The writer's own, and of whoever holds state.busy: the writer gets by
	// without busy only in what appends alone touch.
	active   *segment            // the last one; nil until the first batch
	unnamed  []string            // directories whose names may not be durable yet
	saved    epochs              // what the epoch checkpoint holds
	unsaved  bool                // state.epochs differs from saved
	unsynced bool                // the directory has names that were not synced
	unsure   bool                // so may be the end of the active segment, as Open found it
	head     [BatchOverhead]byte // room for the header of the batch being appended

	place    flushPlace // of the flushed end; whoever holds state.busy uses it
	flushing flushing   // likewise
	slots    *slots     // nil until the first batch; whoever holds state.busy uses it

	bounds   bounds     // what the file has; whoever holds state.busy uses it
	leftover []*segment // removed from the log, and not yet from the disk; likewise

	producers *producers
	snapshots []Offset // of producers; whoever holds state.busy uses it
	synced    Offset   // the newest of them that is on the disk; -1: none is known to be
}

// A state is what the writer and the readers of a log share.
type state struct {
	segments []*segment // oldest first; the last one is active. None until the first batch
	epochs   epochs
	tail     tail
	hints    hints
	warm     *segment    // the sealed segment whose file stays open
	habit    flushHabit  // how the log is flushed
	writing  bool        // an append is under way
	cuts     int         // rises when a cut begins: what was read before it may be false
	busy     bool        // somebody flushes, cuts or closes; others wait
	next     *flushGroup // waits for its turn to flush; nil: nobody does
	unsealed bool        // there may be full segments without a seal
	due      []producersDue
	closed   bool
	err      error // final
}

// Start returns the oldest offset held.
func (l *Log) Start() Offset { return Offset(l.start.Load()) }

// End returns the offset that the next record will get.
func (l *Log) End() Offset { return Offset(l.end.Load()) }

// Flushed returns the offset below which all is known to be on the disk.
func (l *Log) Flushed() Offset { return Offset(l.flushed.Load()) }

// LastEpoch returns the newest epoch that the log knows of, which may have no
// batch yet; [NoEpoch] if there is none.
func (l *Log) LastEpoch() Epoch { return l.epochs().last() }

// EpochAt returns the epoch of the batch that holds off; false if none does.
func (l *Log) EpochAt(off Offset) (Epoch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off < l.Start() || off >= l.End() {
		return NoEpoch, false
	}
	return l.state.epochs.at(off)
}

// EndOf answers where an epoch ended here, as KIP-101 has it: the newest epoch
// that is not above the one asked for, and the offset at which the next one
// begins, or the end of the log. If all epochs here are newer, it is the epoch
// asked for, which ended where the oldest begins.
//
// It is false for an epoch newer than all. [NoEpoch] is an epoch like others,
// older than all, and the last one of a log without any.
func (l *Log) EndOf(epoch Epoch) (e Epoch, end Offset, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.epochs.endOf(epoch, l.End())
}

func (l *Log) cuts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.cuts
}

func (l *Log) epochs() epochs {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.epochs
}

// usable returns why the log takes no more writes; l.mu is held.
func (s *state) usable() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.err != nil:
		return s.err
	}
	return nil
}

// fail makes an error final, if it came out of a sync or left the disk in a
// state not known.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.err != nil {
		return l.state.err
	}
	if !errors.Is(err, ErrFailed) {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	l.state.err = err
	l.changed.Broadcast()
	return err
}

// failFinal is fail for errors of a sync; others pass, and may be tried again.
func (l *Log) failFinal(err error) error {
	if final(err) {
		return l.fail(err)
	}
	return err
}

// acquire waits until nobody flushes, cuts or closes, and takes that right.
func (l *Log) acquire() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.state.busy {
		l.changed.Wait()
	}
	if err := l.state.usable(); err != nil {
		return err
	}
	l.state.busy = true
	return nil
}

// release gives the right of acquire to the next.
func (l *Log) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.busy = false
	l.changed.Broadcast()
}

// Close flushes and closes. Reads under way go on. Later calls return nil.
func (l *Log) Close() error {
	err := l.acquire()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	failed := err != nil // then nothing more is written, and no right is held
	if errors.Is(err, ErrReadOnly) {
		err = nil
	}
	if !failed {
		err = l.settle()
	}
	l.mu.Lock()
	if l.state.closed {
		l.mu.Unlock()
		return nil
	}
	l.state.closed = true
	trimmed := l.trimming(failed)
	files := l.retire(l.state.segments)
	l.state.tail.clear(true)
	l.state.busy = l.state.busy && failed
	l.changed.Broadcast()
	l.mu.Unlock()
	if trimmed != nil {
		err = errors.Join(err, trimmed.file.Truncate(trimmed.size), trimmed.file.Sync())
		l.done(trimmed)
	}
	if l.slots != nil {
		files = append(files, l.slots.file)
	}
	return errors.Join(err, closeAll(files))
}

// trimming returns the active segment, pinned, if it has zeros behind it that are
// to go with the log. While an append is under way they stay: a cut might take a
// half of it, which would look like a loss. l.mu is held.
func (l *Log) trimming(failed bool) *segment {
	a := l.active
	if a == nil || a.ahead <= a.size || failed || l.state.writing {
		return nil
	}
	a.pin()
	return a
}

// settle leaves the disk as recovery likes it best: nothing to scan.
func (l *Log) settle() error {
	if err := l.flushOnce(); err != nil || l.slots == nil {
		return err
	}
	if err := l.saveProducers(true); errors.Is(err, ErrFailed) {
		return err
	}
	if err := l.mark(true); err != nil {
		return err
	}
	if err := l.syncSlots(); err != nil {
		return err
	}
	return l.sealFull()
}

// retire marks segments dead and returns the files that nobody reads; the last
// reader closes each of the others. l.mu is held.
func (l *Log) retire(segments []*segment) []File {
	var files []File
	for _, s := range segments {
		s.dead = true
		if s.refs == 0 && s.file != nil {
			files = append(files, s.file)
			s.file = nil
		}
	}
	return files
}

func closeAll(files []File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// saveEpochs writes the epoch checkpoint if it is not up to date, and otherwise
// syncs the directory if that is due. Then a batch may be written.
func (l *Log) saveEpochs() error {
	if l.unsaved {
		e := l.epochs()
		if err := WriteFile(l.fsys, filepath.Join(l.dir, epochsFile), epochsMagic, epochsVersion, e.encode()); err != nil {
			return l.failFinal(err)
		}
		l.saved, l.unsaved, l.unsynced = e, false, false
	}
	return l.syncDir()
}

// syncDir makes the names of new and removed files durable.
func (l *Log) syncDir() error {
	if !l.unsynced {
		return nil
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return l.fail(err)
	}
	l.unsynced = false
	return nil
}

// syncFound makes durable where the last segment ended when it was opened. A
// process that died within a cut may have left that to the page cache: then what
// was cut would come back, behind what is written now or in front of it.
func (l *Log) syncFound() error {
	if a := l.active; l.unsure && a != nil {
		file, err := l.hold(a)
		if err != nil {
			return err
		}
		defer l.done(a)
		if err := file.Sync(); err != nil {
			return l.fail(err)
		}
	}
	l.unsure = false
	return nil
}

// hold returns the file of the active segment, which Close leaves open until done.
func (l *Log) hold(s *segment) (File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state.usable(); err != nil {
		return nil, err
	}
	s.pin()
	return s.file, nil
}

// setEpochs replaces the cache.
func (l *Log) setEpochs(e epochs) {
	l.mu.Lock()
	l.state.epochs = e
	l.mu.Unlock()
	l.unsaved = !slices.Equal(e, l.saved)
}
