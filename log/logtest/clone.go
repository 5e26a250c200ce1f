package logtest

import (
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/samsalog/samsa/log"
)

// Clone copies dir, and all that is below it, onto a disk that holds nothing, and
// returns a Disk over that one. What was not synced is not synced there either:
// the copy may lose its power, while this disk goes on. Nobody has a file open or
// a lock there, and faults, Delay, Before and Limit stay behind. Clone overlaps
// anything, and shows the moment between two calls.
func (d *Disk) Clone(dir string, onto log.FS) (*Disk, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewDisk(onto)
	c.trash = d.trash
	d.cloneFresh(filepath.Clean(dir), c)
	return c, d.copyDir(filepath.Clean(dir), c)
}

func (d *Disk) copyDir(path string, c *Disk) error {
	names, err := d.under.ReadDir(path)
	if err != nil {
		return err
	}
	if err := c.under.MkdirAll(path); err != nil {
		return err
	}
	for _, name := range names {
		full := filepath.Join(path, name)
		if _, err := d.under.ReadDir(full); err == nil {
			err = d.copyDir(full, c)
			if err != nil {
				return err
			}
			continue
		}
		if err := copyFile(c.under, d.under, full); err != nil {
			return err
		}
	}
	if in := d.dirs[path]; in != nil {
		c.dirs[path] = in.clone()
	}
	return nil
}

func copyFile(to, from log.FS, name string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := in.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	out, err := to.Create(name)
	if err != nil {
		return err
	}
	_, err = out.WriteAt(b, 0)
	return errors.Join(err, out.Close())
}

// clone copies a directory whose files were copied under the same paths.
func (in *dir) clone() *dir {
	copies := map[*node]*node{nil: nil}
	of := func(n *node) *node {
		c, ok := copies[n]
		if !ok {
			c = n.clone()
			copies[n] = c
		}
		return c
	}
	names := func(m map[string]*node) map[string]*node {
		out := make(map[string]*node, len(m))
		for name, n := range m {
			out[name] = of(n)
		}
		return out
	}
	out := &dir{synced: names(in.synced), now: names(in.now), changes: slices.Clone(in.changes)}
	for i := range out.changes {
		out.changes[i].node = of(out.changes[i].node)
	}
	return out
}

// clone shares the saved bytes, which never change.
func (n *node) clone() *node {
	c := &node{path: n.path, name: n.name, size: n.size, serial: n.serial, refs: n.refs}
	for _, l := range n.layers {
		c.layers = append(c.layers, &layer{serial: l.serial, size: l.size, old: maps.Clone(l.old)})
	}
	return c
}
