package logtest

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/samsalog/samsa/log"
)

func (f fixture) locker() log.Locker {
	locker, ok := f.fsys.(log.Locker)
	if !ok {
		f.Skip("the disk is no log.Locker")
	}
	return locker
}

// refused checks that somebody has the directory.
func (f fixture) refused(locker log.Locker, dir string) {
	f.Helper()
	unlock, err := locker.Lock(dir)
	if !errors.Is(err, log.ErrLocked) || unlock != nil {
		f.Fatalf("locking a locked directory returns %v; want log.ErrLocked", err)
	}
	if held, ok := errors.AsType[*log.LockedError](err); !ok || held.Dir != dir || held.Holder == "" {
		f.Errorf("the error is %#v; want a log.LockedError that names the directory and its holder", err)
	}
}

func (f fixture) lock() {
	locker := f.locker()
	if _, err := locker.Lock(f.path("none")); !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("locking a directory that is not there returns %v; want fs.ErrNotExist", err)
	}
	f.ok(f.made("x", "hello").Close())
	first, err := locker.Lock(f.dir)
	f.ok(err)
	f.refused(locker, f.dir)
	f.refused(locker, f.dir+string(filepath.Separator)+".") // the same by another name

	f.reads("x", "hello") // a lock keeps nobody from the files
	f.ok(f.made("y", "new").Close())
	f.ok(f.fsys.MkdirAll(f.path("other")))
	other, err := locker.Lock(f.path("other"))
	f.ok(err)

	f.ok(first())
	second, err := locker.Lock(f.dir)
	f.ok(err)
	f.ok(first()) // has no effect on who came after
	f.refused(locker, f.dir)
	f.refused(locker, f.path("other"))
	f.ok(other())
	f.ok(second())
	again, err := locker.Lock(f.dir)
	f.ok(err)
	f.ok(again())
}

func (f fixture) race() {
	locker := f.locker()
	for range 20 {
		var got atomic.Int32
		var begin, tried, done sync.WaitGroup
		begin.Add(1)
		for range 4 {
			tried.Add(1)
			done.Go(func() {
				begin.Wait()
				unlock, err := locker.Lock(f.dir)
				tried.Done()
				switch {
				case err == nil:
					got.Add(1)
					tried.Wait() // nobody may find it free for having come late
					err = unlock()
				case errors.Is(err, log.ErrLocked):
					err = nil
				}
				if err != nil {
					f.Error(err)
				}
			})
		}
		begin.Done()
		done.Wait()
		if n := got.Load(); n != 1 {
			f.Fatalf("%d of 4 got the lock", n)
		}
	}
}
