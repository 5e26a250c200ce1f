package logtest

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"time"
)

// An Op is a kind of call of a disk. Several are joined by |.
type Op uint

// The kinds of calls; to ask for a size is to Read. Mutate is all that change what a disk holds, or make it
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
	Close // of a file, which is closed all the same

	Mutate = Create | Rename | Remove | Mkdir | Write | Truncate | Sync | SyncDir
)

// ErrCrashed is what calls return behind the one at which a disk was told to
// crash.
var ErrCrashed = errors.New("logtest: crashed")

// A Fault makes calls of a [Disk] go wrong. See [Disk.Inject].
//
// A sync that fails is as bad as the worst kernel's: later ones of that file or
// directory succeed, and make nothing durable, until the process has ended.
type Fault struct {
	// Op is the kinds of calls that it is about.
	//
	// Zero means all.
	Op Op

	// Name is a pattern, as [filepath.Match] has it, for the last element of the
	// name of the file or directory; of a rename, for that of the old name.
	//
	// Empty means any.
	Name string

	// Nth is the first of those calls, counted from now, that goes wrong.
	//
	// Zero means the next one, as 1 does.
	Nth int

	// Every is after how many more of them the next one goes wrong, again and again.
	//
	// Zero means that no other does.
	Every int

	// Err is what a call that goes wrong returns, without effect.
	//
	// Nil means that it returns nil: a sync lies, and makes nothing durable, and any
	// other call does its work.
	Err error

	// Short makes a write do the first half of its work before it returns Err.
	Short bool

	// Hold makes a call wait until the fault is ended, and only then do what it
	// does. A sync covers what was written before it was called. Without Err it does
	// not lie.
	Hold bool
}

// A trap is a fault, and how many calls are left until it strikes.
type trap struct {
	Fault
	left  int
	crash bool
	ended bool
}

// Inject puts a fault into effect until end is called, or Revive or PowerFail is;
// several add up, and of those that strike the same call the oldest counts. It
// panics if Name is no pattern.
func (d *Disk) Inject(f Fault) (end func()) {
	if _, err := filepath.Match(f.Name, ""); err != nil {
		panic("logtest: " + f.Name + ": " + err.Error())
	}
	if f.Op == 0 {
		f.Op = ^Op(0)
	}
	return d.set(&trap{Fault: f, left: max(f.Nth, 1)})
}

func (d *Disk) set(t *trap) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.traps = append(d.traps, t)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		t.ended = true
		d.traps = slices.DeleteFunc(d.traps, func(o *trap) bool { return o == t })
		d.released.Broadcast()
	}
}

// FailNth makes the n-th call from now, among those of the given kinds, return
// err without effect; 1 is the next one. Later calls succeed again.
func (d *Disk) FailNth(op Op, n int, err error) {
	d.Inject(Fault{Op: op, Nth: n, Err: err})
}

// Lie makes all syncs of files, and of directories, whose name matches the pattern
// succeed without making anything durable; "" is all of them.
func (d *Disk) Lie(name string) (end func()) {
	return d.Inject(Fault{Op: Sync | SyncDir, Name: name, Every: 1})
}

// Hold makes all calls of the given kinds, for names that match the pattern, wait
// until they are released, or the process is dead; "" is all names. In a bubble of
// testing/synctest they are durably blocked.
func (d *Disk) Hold(op Op, name string) (release func()) {
	return d.Inject(Fault{Op: op, Name: name, Every: 1, Hold: true})
}

// Crash kills whoever uses the disk at the n-th mutating call from now: of a
// write one half is done, of others nothing, and all calls return [ErrCrashed]
// until Revive.
func (d *Disk) Crash(n int) {
	d.set(&trap{Fault: Fault{Op: Mutate, Err: ErrCrashed, Short: true}, left: n, crash: true})
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
	clear(d.handles)
	d.released.Broadcast()
}

// Revive ends what Fail began, and takes away the faults that are left. Handles
// opened before Fail stay dead.
func (d *Disk) Revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = nil
	d.endTraps()
}

// endTraps takes away all faults; d.mu is held.
func (d *Disk) endTraps() {
	for _, t := range d.traps {
		t.ended = true
	}
	d.traps = nil
	d.released.Broadcast()
}

// Delay makes each sync, of a file or a directory, take that long.
func (d *Disk) Delay(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// Before makes f be called before each call takes effect, with its kind and name;
// nil ends that. f holds up the call, and may use the disk's own methods, such as
// [Disk.Clone], but makes no call of the FS or its files. It is called by whoever
// makes the call, so that it may overlap itself.
func (d *Disk) Before(f func(op Op, name string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = f
}

// An outcome is what becomes of a call.
type outcome struct {
	err   error // what it returns
	half  bool  // of a write: half of it is done all the same
	lie   bool  // of a sync: it is not done
	until *trap // it waits for the end of this first
}

// enter counts a call that belongs to a life, and returns what becomes of it; d.mu
// is held.
func (d *Disk) enter(op Op, name string, life int) outcome {
	if before := d.before; before != nil && d.gone(life) == nil {
		d.tell(before, op, name)
	}
	if err := d.gone(life); err != nil {
		return outcome{err: err}
	}
	if op&Mutate != 0 {
		d.count++
	}
	var struck *trap
	d.traps = slices.DeleteFunc(d.traps, func(t *trap) bool {
		if t.strikes(op, name) && struck == nil {
			struck = t
		}
		return t.left == 0
	})
	if struck == nil {
		return outcome{}
	}
	if struck.crash {
		d.die(struck.Err)
	}
	o := outcome{err: struck.Err, half: struck.Short && op == Write, lie: struck.Err == nil && !struck.Hold}
	if struck.Hold {
		o.until = struck
	}
	return o
}

// tell calls f without the mutex, which is held again also when f ends a test.
func (d *Disk) tell(f func(op Op, name string), op Op, name string) {
	d.mu.Unlock()
	defer d.mu.Lock()
	f(op, name)
}

// strikes counts a call; left is 0 when there will be no other.
func (t *trap) strikes(op Op, name string) bool {
	if t.Op&op == 0 {
		return false
	}
	if ok, _ := filepath.Match(t.Name, filepath.Base(name)); !ok && t.Name != "" {
		return false
	}
	t.left--
	if t.left > 0 {
		return false
	}
	t.left = max(t.Every, 0)
	if t.left == 0 && t.Hold {
		t.left = math.MaxInt // it has struck for the last time, but not ended
	}
	return true
}

// begin is enter for calls of the FS that are no syncs: they wait where they are
// held, and are not done if they fail.
func (d *Disk) begin(op Op, name string) error {
	life := d.life
	o := d.enter(op, name, life)
	if err := d.hold(o.until, life); err != nil {
		return err
	}
	return o.err
}

// hold waits for the end of a trap, if there is one, or of a life; d.mu is held.
func (d *Disk) hold(t *trap, life int) error {
	for t != nil && !t.ended && d.life == life {
		d.released.Wait()
	}
	return d.gone(life)
}

// wait lets a sync take its time, and returns its error; d.mu is held before and
// after.
func (d *Disk) wait(o outcome, life int) error {
	if o.err != nil && o.until == nil {
		return o.err
	}
	if delay := d.delay; delay > 0 {
		d.mu.Unlock()
		time.Sleep(delay)
		d.mu.Lock()
	}
	if err := d.hold(o.until, life); err != nil {
		return err
	}
	return o.err
}

// gone returns what calls of a life return when it is over, or the disk is down.
func (d *Disk) gone(life int) error {
	if d.life != life && d.down == nil {
		return ErrCrashed
	}
	return d.down
}
