package logtest

import (
	"slices"

	"github.com/samsalog/samsa/log"
)

// A lock is one that somebody alive holds.
type lock struct{ free func() error }

// Lock implements [log.Locker], if the disk below does; if not, nothing is locked.
// Fail, Crash and PowerFail free the lock, and unlock has no effect from then on.
func (d *Disk) Lock(name string) (unlock func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(Lock, name); err != nil {
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
