package logtest

import (
	"errors"
	"maps"
	"math/rand"
	"path/filepath"
	"slices"

	"github.com/samsalog/samsa/log"
)

// PowerFail takes what was not synced: nil takes all of it; otherwise rng draws
// how much is taken, from nothing to everything: any sectors of a file, one of
// them torn, and any changes of a directory. Handles opened before are dead; the
// disk serves new ones at once, and what is left of FailNth and Crash is off.
func (d *Disk) PowerFail(rng *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die(nil)
	d.traps = nil
	keep := 0.0 // the share of what was not synced that stays
	if rng != nil {
		keep = []float64{0, 0.5, 1, rng.Float64()}[rng.Intn(4)]
	}
	stays := func() bool { return rng != nil && rng.Float64() < keep }
	for _, path := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := d.failDir(path, d.dirs[path], stays, rng); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) failDir(path string, in *dir, stays func() bool, rng *rand.Rand) error {
	all := map[*node]bool{}
	for _, n := range in.synced {
		all[n] = true
	}
	for _, c := range in.changes {
		if c.node != nil {
			all[c.node] = true
		}
	}
	left := maps.Clone(in.synced)
	for _, c := range in.changes {
		if stays() {
			c.apply(left)
		}
	}
	// Files first get names that are nobody's, then those that they had.
	names := map[*node]string{}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		n := left[name]
		if names[n] != "" { // a kept creation and a lost rename name it twice
			delete(left, name)
			continue
		}
		names[n] = name
	}
	order := slices.SortedFunc(maps.Keys(all), func(a, b *node) int { return compare(a.path, b.path) })
	for _, n := range order {
		if err := d.failFile(n, stays, rng); err != nil {
			return err
		}
		if !isHidden(filepath.Base(n.path)) {
			if err := d.discard(n); err != nil {
				return err
			}
		}
	}
	for _, n := range order {
		if names[n] == "" {
			if err := d.under.Remove(n.path); err != nil {
				return err
			}
			continue
		}
		to := filepath.Join(path, names[n])
		if err := d.under.Rename(n.path, to); err != nil {
			return err
		}
		n.path = to
	}
	in.synced, in.changes, in.now = left, nil, maps.Clone(left)
	return nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// failFile takes what was not synced of one file.
func (d *Disk) failFile(n *node, stays func() bool, rng *rand.Rand) error {
	if len(n.layers) == 0 {
		return nil
	}
	f, err := d.under.Open(n.path)
	if err != nil {
		return err
	}
	err = revert(f, n, stays, rng)
	n.layers = nil
	return errors.Join(err, f.Close())
}

func revert(f log.File, n *node, stays func() bool, rng *rand.Rand) error {
	size, old := n.durable()
	now, err := f.Size()
	if err != nil {
		return err
	}
	left := now
	if !stays() {
		left = size
	}
	if err := f.Truncate(max(size, now, left)); err != nil {
		return err
	}
	for _, s := range slices.Sorted(maps.Keys(old)) {
		b := old[s]
		switch {
		case stays():
			continue
		case rng != nil && rng.Intn(8) == 0: // torn: its first bytes are new
			cut := rng.Intn(sector)
			if _, err := f.WriteAt(b[cut:], s*sector+int64(cut)); err != nil {
				return err
			}
		default:
			if _, err := f.WriteAt(b, s*sector); err != nil {
				return err
			}
		}
	}
	return f.Truncate(left)
}
