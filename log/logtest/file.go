package logtest

import "github.com/samsalog/samsa/log"

// A file is an open file of a Disk.
type file struct {
	disk  *Disk
	node  *node
	under log.File
	life  int
}

// enter is Disk.enter for a handle, which may be dead; the disk's mutex is held.
func (f *file) enter(op Op) error {
	if err := f.dead(); err != nil {
		return err
	}
	return f.disk.enter(op)
}

func (f *file) dead() error {
	if f.life == f.disk.life {
		return nil
	}
	if f.disk.down != nil {
		return f.disk.down
	}
	return ErrCrashed
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.enter(Read); err != nil {
		return 0, err
	}
	return f.under.ReadAt(p, off)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	alive := f.dead() == nil && f.disk.down == nil
	if err := f.enter(Write); err != nil {
		if half := p[:len(p)/2]; alive && f.dead() != nil { // crashed at this very call
			if f.node.save(f.under, off, int64(len(half))) == nil {
				_, _ = f.under.WriteAt(half, off)
			}
		}
		return 0, err
	}
	if err := f.node.save(f.under, off, int64(len(p))); err != nil {
		return 0, err
	}
	return f.under.WriteAt(p, off)
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.enter(Truncate); err != nil {
		return err
	}
	if err := f.node.saveTruncate(f.under, size); err != nil {
		return err
	}
	return f.under.Truncate(size)
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.enter(Sync); err != nil {
		return err
	}
	n := f.node
	size, err := f.under.Size()
	if err != nil {
		return err
	}
	if len(n.layers) == 0 {
		return f.disk.wait()
	}
	n.push(size)
	serial := n.serial
	if err := f.disk.wait(); err != nil {
		return err
	}
	n.synced(serial)
	if len(n.layers) == 1 && len(n.layers[0].old) == 0 {
		if now, err := f.under.Size(); err == nil && now == n.layers[0].size {
			n.layers = nil
		}
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.dead(); err != nil {
		return 0, err
	}
	if f.disk.down != nil {
		return 0, f.disk.down
	}
	return f.under.Size()
}

// Close closes the handle below even when the disk is down: a dead process
// leaves none open.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.dead()
	if err == nil {
		err = f.disk.down
	}
	if cerr := f.under.Close(); err == nil {
		err = cerr
	}
	return err
}
