package logtest

import (
	"io/fs"
	"math"
	"syscall"
)

// A room is how much a disk holds.
type room struct {
	limited bool
	bytes   int64
	names   bool // new names need room too
}

// Limit gives the disk room for so many bytes of files; below 0 there is no end of
// it, as at first. What counts is the size of each file that has a name or is open,
// holes included. A write that asks for more does what there is room for, and a
// Truncate nothing; both return an error that matches [syscall.ENOSPC]. What replaces
// bytes needs no room. Remove, Truncate and a higher limit make some.
//
// Files of directories that nobody has used since the Disk was made do not count.
func (d *Disk) Limit(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room.limited, d.room.bytes = bytes >= 0, bytes
}

// LimitNames makes new files and directories fail while the disk is full, too.
func (d *Disk) LimitNames(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room.names = on
}

// Room implements [log.Roomer], for one that keeps some free.
func (d *Disk) Room(string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.room.limited {
		return math.MaxInt64, nil
	}
	return d.free(), nil
}

// Used returns how many bytes count against the limit.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() int64 {
	held := map[*node]bool{}
	for _, in := range d.dirs {
		for _, n := range in.now {
			held[n] = true
		}
	}
	for f := range d.handles {
		held[f.node] = true
	}
	sum := int64(0)
	for n := range held {
		sum += n.size
	}
	return sum
}

// free returns for how many bytes there is room; d.mu is held.
func (d *Disk) free() int64 { return max(d.room.bytes-d.used(), 0) }

func noRoom(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
}

// fit returns how much of a write of count bytes at off there is room for, and the
// error if that is not all.
func (d *Disk) fit(n *node, off int64, count int) (int, error) {
	grow := off + int64(count) - n.size
	if !d.room.limited || grow <= 0 {
		return count, nil
	}
	free := d.free()
	if grow <= free {
		return count, nil
	}
	return int(max(int64(count)-(grow-free), 0)), noRoom("write", n.name)
}

// roomForSize tells whether a file may get a size.
func (d *Disk) roomForSize(n *node, size int64) error {
	if d.room.limited && size > n.size && size-n.size > d.free() {
		return noRoom("truncate", n.name)
	}
	return nil
}

// roomForName tells whether a new file or directory may be made.
func (d *Disk) roomForName(op, name string) error {
	if d.room.limited && d.room.names && d.free() == 0 {
		return noRoom(op, name)
	}
	return nil
}
