package logtest

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
)

// An Op is a kind of call of a disk. Several are joined by |.
type Op uint

// The kinds of calls. Mutate is all that change what a disk holds, or make it
// durable.
const (
	Open Op = 1 << iota
	Read
	Create
	Rename
	Remove
	Mkdir
	Write
	Truncate
	Sync
	SyncDir
	Lock

	Mutate = Create | Rename | Remove | Mkdir | Write | Truncate | Sync | SyncDir
)

// ErrCrashed is what calls return behind the one at which a disk was told to
// crash.
var ErrCrashed = errors.New("logtest: crashed")

// A Disk is a [log.FS] over another one, which nobody else uses meanwhile. What
// the other one held to begin with counts as durable. It is safe for concurrent
// use, and outlives the brokers on it: after [Disk.Fail] or [Disk.PowerFail]
// handles opened before stay dead, and locks are free, as those of a dead process
// are.
type Disk struct {
	under log.FS

	mu    sync.Mutex // guards all below; held while under is called, not while syncs take their time
	dirs  map[string]*dir
	life  int   // rises with each death: handles of an earlier life are dead
	down  error // what every call returns now
	trash int
	delay time.Duration
	traps []*trap
	count int // mutating calls so far
	locks []*lock
}

// A lock is one that somebody alive holds.
type lock struct{ free func() error }

// A trap fails the n-th call of a kind from now.
type trap struct {
	op    Op
	left  int
	err   error
	crash bool
}

// NewDisk returns a disk over under.
func NewDisk(under log.FS) *Disk {
	return &Disk{under: under, dirs: map[string]*dir{}}
}

// Fail makes every call return err until Revive, and frees all locks. What was
// written stays: a process is killed, or a disk pulled out.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die(err)
}

// die ends the life of who uses the disk; d.mu is held.
func (d *Disk) die(down error) {
	d.life++
	d.down = down
	for _, l := range d.locks {
		_ = l.free() // a dead process is told nothing
	}
	d.locks = nil
}

// Revive ends what Fail began, and takes away what is left of FailNth and Crash.
// Handles opened before Fail stay dead.
func (d *Disk) Revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down, d.traps = nil, nil
}

// FailNth makes the n-th call from now, among those of the given kinds, return
// err without effect; 1 is the next one. Later calls succeed again.
func (d *Disk) FailNth(op Op, n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.traps = append(d.traps, &trap{op: op, left: n, err: err})
}

// Crash kills whoever uses the disk at the n-th mutating call from now: of a
// write one half is done, of others nothing, and all calls return [ErrCrashed]
// until Revive.
func (d *Disk) Crash(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.traps = append(d.traps, &trap{op: Mutate, left: n, err: ErrCrashed, crash: true})
}

// Mutations returns how many mutating calls there have been.
func (d *Disk) Mutations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Delay makes each sync, of a file or a directory, take that long.
func (d *Disk) Delay(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// FlipBit changes one bit of a file, as a bad disk does: bit 0 to 7 of byte at.
func (d *Disk) FlipBit(name string, at int64, bit uint) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.under.Open(name)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err = f.ReadAt(b[:], at); err == nil {
		b[0] ^= 1 << (bit % 8)
		_, err = f.WriteAt(b[:], at)
	}
	return errors.Join(err, f.Close())
}

// enter counts a call and returns the error that it is to return, if any; d.mu
// is held.
func (d *Disk) enter(op Op) error {
	if d.down != nil {
		return d.down
	}
	if op&Mutate != 0 {
		d.count++
	}
	for i, t := range d.traps {
		if t.op&op == 0 {
			continue
		}
		if t.left--; t.left > 0 {
			continue
		}
		d.traps = slices.Delete(d.traps, i, i+1)
		if t.crash {
			d.die(t.err)
		}
		return t.err
	}
	return nil
}

// Open implements [log.FS].
func (d *Disk) Open(name string) (log.File, error) { return d.open(Open, name) }

// Create implements [log.FS].
func (d *Disk) Create(name string) (log.File, error) { return d.open(Create, name) }

func (d *Disk) open(op Op, name string) (log.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(op); err != nil {
		return nil, err
	}
	in, base, err := d.dir(name)
	if err != nil {
		return nil, err
	}
	n := in.now[base]
	if n != nil && op == Create {
		f, err := d.under.Open(name)
		if err == nil {
			err = errors.Join(n.saveTruncate(f, 0), f.Close())
		}
		if err != nil {
			return nil, err
		}
	}
	var f log.File
	if op == Create {
		f, err = d.under.Create(name)
	} else {
		f, err = d.under.Open(name)
	}
	if err != nil {
		return nil, err
	}
	if n == nil {
		n = &node{path: filepath.Clean(name)}
		in.do(change{add: base, node: n})
	}
	return &file{disk: d, node: n, under: f, life: d.life}, nil
}

// Rename implements [log.FS], within one directory.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(Rename); err != nil {
		return err
	}
	in, a, err := d.dir(from)
	if err != nil {
		return err
	}
	other, b, err := d.dir(to)
	if err != nil {
		return err
	}
	n := in.now[a]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if in != other {
		return &fs.PathError{Op: "rename", Path: to, Err: errors.New("logtest: to another directory")}
	}
	if a == b {
		return nil
	}
	if old := in.now[b]; old != nil {
		if err := d.discard(old); err != nil {
			return err
		}
	}
	if err := d.under.Rename(from, to); err != nil {
		return err
	}
	n.path = filepath.Clean(to)
	in.do(change{drop: a, add: b, node: n})
	return nil
}

// Remove implements [log.FS].
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(Remove); err != nil {
		return err
	}
	in, base, err := d.dir(name)
	if err != nil {
		return err
	}
	n := in.now[base]
	if n == nil {
		if _, err := d.under.ReadDir(name); err != nil {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		delete(d.dirs, filepath.Clean(name))
		return d.under.Remove(name) // a directory; that it went is durable at once
	}
	if err := d.discard(n); err != nil {
		return err
	}
	in.do(change{drop: base})
	return nil
}

// discard moves a file out of sight: a crash may bring it back.
func (d *Disk) discard(n *node) error {
	d.trash++
	hidden := filepath.Join(filepath.Dir(n.path), hiddenName(d.trash))
	if err := d.under.Rename(n.path, hidden); err != nil {
		return err
	}
	n.path = hidden
	return nil
}

// MkdirAll implements [log.FS]. Directories are durable at once.
func (d *Disk) MkdirAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(Mkdir); err != nil {
		return err
	}
	return d.under.MkdirAll(name)
}

// ReadDir implements [log.FS].
func (d *Disk) ReadDir(name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(Read); err != nil {
		return nil, err
	}
	return d.list(name)
}

func (d *Disk) list(name string) ([]string, error) {
	names, err := d.under.ReadDir(name)
	return slices.DeleteFunc(names, isHidden), err
}

// SyncDir implements [log.FS].
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(SyncDir); err != nil {
		return err
	}
	in, _, err := d.dir(filepath.Join(name, "x"))
	if err != nil {
		return err
	}
	upTo := len(in.changes)
	if err := d.wait(); err != nil {
		return err
	}
	// Another sync may have been faster, and have done some of it already.
	return d.settle(in, min(upTo, len(in.changes)))
}

// Lock implements [log.Locker], if the disk below does; if not, nothing is locked.
// Fail, Crash and PowerFail free the lock, and unlock has no effect from then on.
func (d *Disk) Lock(name string) (unlock func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter(Lock); err != nil {
		return nil, err
	}
	under, ok := d.under.(log.Locker)
	if !ok {
		return func() error { return nil }, nil
	}
	free, err := under.Lock(name)
	if err != nil {
		return nil, err
	}
	l := &lock{free}
	d.locks = append(d.locks, l)
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		i := slices.Index(d.locks, l)
		if i < 0 {
			return nil
		}
		d.locks = slices.Delete(d.locks, i, i+1)
		return l.free()
	}, nil
}

// wait lets a sync take its time; d.mu is held before and after.
func (d *Disk) wait() error {
	if d.delay <= 0 {
		return nil
	}
	delay, life := d.delay, d.life
	d.mu.Unlock()
	time.Sleep(delay)
	d.mu.Lock()
	if d.life != life {
		if d.down != nil {
			return d.down
		}
		return ErrCrashed
	}
	return d.down
}

const hiddenPrefix = "~logtest-"

func isHidden(name string) bool { return strings.HasPrefix(name, hiddenPrefix) }
