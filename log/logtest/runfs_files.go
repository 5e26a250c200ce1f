package logtest

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
)

// anew: who holds a file keeps it, whatever becomes of its name.
func (f fixture) anew() {
	old := f.made("x", "old")
	f.ok(f.fsys.Remove(f.path("x")))
	fresh := f.made("x", "new")
	_, err := old.WriteAt([]byte("OLD"), 0)
	f.ok(err)
	f.ok(old.Sync())
	f.holds(old, "OLD")
	f.holds(fresh, "new")
	f.reads("x", "new")
	f.ok(old.Close())
	f.ok(fresh.Close())
}

func (f fixture) shared() {
	one := f.made("x", "hello")
	two, err := f.fsys.Open(f.path("x"))
	f.ok(err)
	_, err = one.WriteAt([]byte("J"), 0)
	f.ok(err)
	f.holds(two, "Jello")
	f.ok(two.Truncate(2))
	f.holds(one, "Je")
	f.ok(one.Close())
	f.holds(two, "Je")
	f.ok(f.made("x", "").Close()) // empties the same file
	f.holds(two, "")
	f.ok(two.Close())
}

// beside: one writes numbers, one behind another; others read all that are there.
func (f fixture) beside() {
	const numbers, width = 3000, 8
	file := f.made("x", "")
	defer file.Close()
	var written atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			buf := make([]byte, 64*width)
			for at := int64(0); at < numbers; {
				n := min(written.Load()-at, 64)
				if n == 0 {
					runtime.Gosched()
					continue
				}
				if _, err := file.ReadAt(buf[:n*width], at*width); err != nil {
					f.Errorf("reading number %d of %d: %v", at, written.Load(), err)
					return
				}
				for i := range n {
					if got := binary.BigEndian.Uint64(buf[i*width:]); got != uint64(at+i) {
						f.Errorf("number %d is %d", at+i, got)
						return
					}
				}
				at += n
			}
		})
	}
	for i := range int64(numbers) {
		_, err := file.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(i)), i*width)
		if err != nil {
			f.Error(err)
		}
		if i%500 == 0 {
			if err := file.Sync(); err != nil {
				f.Error(err)
			}
		}
		written.Store(i + 1)
	}
	wg.Wait()
}

func (f fixture) kinds() {
	f.ok(f.fsys.MkdirAll(f.path("dir")))
	f.ok(f.made("file", "hello").Close())
	_, createErr := f.fsys.Create(f.path("dir"))
	_, openErr := f.fsys.Open(f.path("dir"))
	_, listErr := f.fsys.ReadDir(f.path("file"))
	for call, err := range map[string]error{
		"Create of a directory": createErr, "Open of a directory": openErr, "ReadDir of a file": listErr,
		"MkdirAll of a file":      f.fsys.MkdirAll(f.path("file")),
		"MkdirAll below a file":   f.fsys.MkdirAll(f.path("file/dir")),
		"Rename over a directory": f.fsys.Rename(f.path("file"), f.path("dir")),
	} {
		if err == nil {
			f.Errorf("%s succeeds", call)
		}
	}
	f.reads("file", "hello")
	if err := f.fsys.SyncDir(f.path("none")); runtime.GOOS != "windows" && !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("SyncDir of nothing returns %v; want fs.ErrNotExist", err)
	}
}

func (f fixture) negative() {
	file := f.made("x", "hello")
	defer file.Close()
	_, read := file.ReadAt(make([]byte, 1), -1)
	_, write := file.WriteAt([]byte("x"), -1)
	for call, err := range map[string]error{"ReadAt": read, "WriteAt": write, "Truncate": file.Truncate(-1)} {
		if err == nil {
			f.Errorf("%s below zero succeeds", call)
		}
	}
	f.holds(file, "hello")
}
