package logtest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"

	"github.com/samsalog/samsa/log"
)

// sector is what a disk writes in one step.
const sector = 512

// zeros are what each sector behind the end of a file is.
var zeros [sector]byte

// A node is a file, whatever its name. Layers hold what its bytes were before
// they were overwritten: the first since the last sync, each later one since a
// sync that is under way began.
type node struct {
	path   string // where the disk below has it
	name   string // the last one that it had for who uses the disk
	size   int64
	layers []*layer
	serial int // of the newest layer
	failed int // one more than the life in which a sync of it failed
	refs   int // durable names, and changes not yet durable that give one: 0 is gone for good
}

// A layer is what a file was at the moment when the layer began, as far as it
// has changed since.
type layer struct {
	serial int
	size   int64
	old    map[int64][]byte // by sector
}

// save keeps the bytes [off, off+n) before they change.
func (n *node) save(f log.File, off, count int64) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if len(n.layers) == 0 {
		n.push(size)
	}
	top := n.layers[len(n.layers)-1]
	for s := off / sector; s*sector < off+count; s++ {
		if _, ok := top.old[s]; ok {
			continue
		}
		if s*sector >= size {
			top.old[s] = zeros[:]
			continue
		}
		b := make([]byte, sector)
		if _, err := f.ReadAt(b, s*sector); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		top.old[s] = b
	}
	return nil
}

func (n *node) push(size int64) {
	n.serial++
	n.layers = append(n.layers, &layer{serial: n.serial, size: size, old: map[int64][]byte{}})
}

// saveTruncate keeps what a change of size will change.
func (n *node) saveTruncate(f log.File, size int64) error {
	was, err := f.Size()
	if err != nil {
		return err
	}
	return n.save(f, min(size, was), max(was-size, 0))
}

// synced drops the layers before the one that began with a sync.
func (n *node) synced(serial int) {
	for len(n.layers) > 0 && n.layers[0].serial < serial {
		n.layers = n.layers[1:]
	}
}

// durable is what a crash that keeps nothing leaves: the size, and the sectors
// that differ from what is there now.
func (n *node) durable() (size int64, old map[int64][]byte) {
	old = map[int64][]byte{}
	for i := len(n.layers) - 1; i >= 0; i-- {
		maps.Copy(old, n.layers[i].old)
	}
	return n.layers[0].size, old
}

// A change is what one call did to a directory.
type change struct {
	drop, add string
	node      *node // what add names
}

func (c change) apply(names map[string]*node) {
	if c.drop != "" {
		delete(names, c.drop)
	}
	if c.add != "" {
		names[c.add] = c.node
	}
}

// A dir is a directory: what a crash leaves, what has changed since, and what
// it is now.
type dir struct {
	synced  map[string]*node
	changes []change
	now     map[string]*node
	failed  int // as of a node
}

func (in *dir) do(c change) {
	in.changes = append(in.changes, c)
	c.apply(in.now)
	if c.node != nil {
		c.node.refs++
	}
}

// dir returns the directory of a name; d.mu is held.
func (d *Disk) dir(name string) (*dir, string, error) {
	path, base := filepath.Split(name)
	if len(path) > 1 {
		path = path[:len(path)-1]
	}
	if in := d.dirs[path]; in != nil { // the name is clean, as that of its directory is
		return in, base, nil
	}
	path, base = filepath.Split(filepath.Clean(name))
	in, err := d.at(path)
	return in, base, err
}

// at returns a directory; d.mu is held.
func (d *Disk) at(path string) (*dir, error) {
	if in := d.dirs[path]; in != nil {
		return in, nil
	}
	path = filepath.Clean(path)
	if in := d.dirs[path]; in != nil {
		return in, nil
	}
	names, err := d.list(path)
	if err != nil {
		return nil, err
	}
	in := &dir{synced: map[string]*node{}, now: map[string]*node{}}
	for _, name := range names {
		full := filepath.Join(path, name)
		if _, err := d.under.ReadDir(full); err == nil {
			continue // a directory
		}
		size, err := d.size(full)
		if err != nil {
			return nil, err
		}
		n := &node{path: full, name: full, size: size, refs: 1}
		in.synced[name], in.now[name] = n, n
	}
	d.dirs[path] = in
	return in, nil
}

func (d *Disk) size(path string) (int64, error) {
	f, err := d.under.Open(path)
	if err != nil {
		return 0, err
	}
	size, err := f.Size()
	return size, errors.Join(err, f.Close())
}

// settle makes the first n changes durable, and removes for good the files that
// lose their last name by it: no crash can bring those back.
func (d *Disk) settle(in *dir, n int) error {
	var lost []*node
	for _, c := range in.changes[:n] {
		for _, name := range []string{c.drop, c.add} {
			old := in.synced[name]
			if old == nil {
				continue
			}
			if old.refs--; old.refs == 0 {
				lost = append(lost, old)
			}
		}
		c.apply(in.synced)
	}
	in.changes = in.changes[n:]
	for _, old := range lost {
		if err := d.under.Remove(old.path); err != nil {
			return err
		}
	}
	return nil
}

func hiddenName(i int) string { return fmt.Sprintf("%s%06d", hiddenPrefix, i) }
