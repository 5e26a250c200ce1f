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

// A Disk is a [log.FS] over another one, which nobody else uses meanwhile. What
// the other one held to begin with counts as durable. It is safe for concurrent
// use, and outlives the brokers on it: after [Disk.Fail] or [Disk.PowerFail]
// handles opened before stay dead, and locks are free, as those of a dead process
// are.
type Disk struct {
	under log.FS

	mu      sync.Mutex // guards all below; held while under is called, not while calls wait
	dirs    map[string]*dir
	fresh   map[string]bool // directories whose name no sync of the one above covers
	life    int             // rises with each death: handles of an earlier life are dead
	down    error           // what every call returns now
	trash   int
	count   int // mutating calls so far
	handles map[*file]bool
	locks   []*lock

	delay    time.Duration
	traps    []*trap
	released sync.Cond // a trap has ended, or a life; uses mu
	before   func(op Op, name string)
	room     room
}

// NewDisk returns a disk over under.
func NewDisk(under log.FS) *Disk {
	d := &Disk{under: under, dirs: map[string]*dir{}, fresh: map[string]bool{}, handles: map[*file]bool{}}
	d.released.L = &d.mu
	return d
}

// Mutations returns how many mutating calls there have been.
func (d *Disk) Mutations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Handles returns the names of the files that are open, in order, once for each
// handle. Those of a dead process are not: its end has closed them.
func (d *Disk) Handles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := []string{}
	for f := range d.handles {
		names = append(names, f.node.name)
	}
	slices.Sort(names)
	return names
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

// Open implements [log.FS].
func (d *Disk) Open(name string) (log.File, error) { return d.open(Open, name) }

// Create implements [log.FS].
func (d *Disk) Create(name string) (log.File, error) { return d.open(Create, name) }

func (d *Disk) open(op Op, name string) (log.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(op, name); err != nil {
		return nil, err
	}
	in, base, err := d.dir(name)
	if err != nil {
		return nil, err
	}
	n := in.now[base]
	var f log.File
	switch {
	case op == Open:
		f, err = d.under.Open(name)
	case n == nil:
		if err := d.roomForName("create", name); err != nil {
			return nil, err
		}
		f, err = d.under.Create(name)
	default:
		f, err = d.recreate(n)
	}
	if err != nil {
		return nil, err
	}
	if n == nil {
		path := filepath.Clean(name)
		n = &node{path: path, name: path}
		in.do(change{add: base, node: n})
	}
	h := &file{disk: d, node: n, under: f, life: d.life}
	d.handles[h] = true
	return h, nil
}

// recreate empties a file that is there.
func (d *Disk) recreate(n *node) (log.File, error) {
	f, err := d.under.Open(n.path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(n.saveTruncate(f, 0), f.Close()); err != nil {
		return nil, err
	}
	n.size = 0
	return d.under.Create(n.path)
}

// Rename implements [log.FS], within one directory.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(Rename, from); err != nil {
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
	n.name = n.path
	in.do(change{drop: a, add: b, node: n})
	return nil
}

// Remove implements [log.FS].
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(Remove, name); err != nil {
		return err
	}
	in, base, err := d.dir(name)
	if err != nil {
		return err
	}
	n := in.now[base]
	if n == nil {
		return d.removeDir(name)
	}
	if err := d.discard(n); err != nil {
		return err
	}
	in.do(change{drop: base})
	return nil
}

// removeDir removes an empty directory. That it went is durable at once, and so is
// what was in it.
func (d *Disk) removeDir(name string) error {
	names, err := d.list(name)
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	path := filepath.Clean(name)
	if in := d.dirs[path]; in != nil && len(names) == 0 {
		if err := d.settle(in, len(in.changes)); err != nil {
			return err
		}
	}
	if err := d.under.Remove(name); err != nil {
		return err
	}
	delete(d.dirs, path)
	delete(d.fresh, path)
	return nil
}

// discard moves a file out of sight: a crash may bring it back.
func (d *Disk) discard(n *node) error {
	d.trash++
	dir, _ := filepath.Split(n.path)
	hidden := dir + hiddenName(d.trash)
	if err := d.under.Rename(n.path, hidden); err != nil {
		return err
	}
	n.path = hidden
	return nil
}

// MkdirAll implements [log.FS].
func (d *Disk) MkdirAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(Mkdir, name); err != nil {
		return err
	}
	made := d.absent(filepath.Clean(name))
	if len(made) > 0 {
		if err := d.roomForName("mkdir", name); err != nil {
			return err
		}
	}
	if err := d.under.MkdirAll(name); err != nil {
		return err
	}
	for _, path := range made {
		d.fresh[path] = true
	}
	return nil
}

// ReadDir implements [log.FS].
func (d *Disk) ReadDir(name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(Read, name); err != nil {
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
	life := d.life
	o := d.enter(SyncDir, name, life)
	if d.gone(life) != nil {
		return o.err
	}
	in, err := d.at(name)
	if err != nil {
		return err
	}
	upTo, made := len(in.changes), d.freshIn(name)
	if err := d.wait(o, life); err != nil {
		in.failed = life + 1
		return err
	}
	if o.lie || in.failed == life+1 {
		return nil
	}
	for _, path := range made {
		delete(d.fresh, path)
	}
	// Another sync may have been faster, and have done some of it already.
	return d.settle(in, min(upTo, len(in.changes)))
}

const hiddenPrefix = "~logtest-"

func isHidden(name string) bool { return strings.HasPrefix(name, hiddenPrefix) }
