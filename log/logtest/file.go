package logtest

import "github.com/samsalog/samsa/log"

// A file is an open file of a Disk.
type file struct {
	disk  *Disk
	node  *node
	under log.File
	life  int
}

// enter is Disk.enter for a handle, which waits where it is held unless it syncs;
// the disk's mutex is held.
func (f *file) enter(op Op) outcome {
	o := f.disk.enter(op, f.node.name, f.life)
	if op == Sync {
		return o
	}
	if err := f.disk.hold(o.until, f.life); err != nil && !o.half {
		o.err = err
	}
	return o
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if o := f.enter(Read); o.err != nil {
		return 0, o.err
	}
	return f.under.ReadAt(p, off)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	o := f.enter(Write)
	switch {
	case o.half:
		p = p[:len(p)/2]
	case o.err != nil:
		return 0, o.err
	}
	n, err := f.write(p, off)
	if o.err != nil {
		err = o.err
	}
	return n, err
}

// write writes what there is room for.
func (f *file) write(p []byte, off int64) (int, error) {
	if off < 0 || len(p) == 0 {
		return f.under.WriteAt(p, off)
	}
	fit, full := f.disk.fit(f.node, off, len(p))
	if fit == 0 {
		return 0, full
	}
	if err := f.node.save(f.under, off, int64(fit)); err != nil {
		return 0, err
	}
	n, err := f.under.WriteAt(p[:fit], off)
	f.node.size = max(f.node.size, off+int64(n))
	if err == nil {
		err = full
	}
	return n, err
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if o := f.enter(Truncate); o.err != nil {
		return o.err
	}
	if size < 0 {
		return f.under.Truncate(size)
	}
	if err := f.disk.roomForSize(f.node, size); err != nil {
		return err
	}
	if err := f.node.saveTruncate(f.under, size); err != nil {
		return err
	}
	if err := f.under.Truncate(size); err != nil {
		return err
	}
	f.node.size = size
	return nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	o := f.enter(Sync)
	if f.disk.gone(f.life) != nil {
		return o.err
	}
	n := f.node
	size, err := f.under.Size()
	if err != nil {
		return err
	}
	serial := 0
	if len(n.layers) > 0 {
		n.push(size)
		serial = n.serial
	}
	if err := f.disk.wait(o, f.life); err != nil {
		n.failed = f.life + 1
		return err
	}
	if o.lie || n.failed == f.life+1 {
		return nil
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
	if o := f.enter(Read); o.err != nil {
		return 0, o.err
	}
	return f.under.Size()
}

// Close closes the handle below even when the disk is down: a dead process
// leaves none open.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	delete(f.disk.handles, f)
	err := f.enter(Close).err
	if cerr := f.under.Close(); err == nil {
		err = cerr
	}
	return err
}
