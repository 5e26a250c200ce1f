package logtest

import (
	"errors"
	"io"
	"maps"
	"math/rand"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samsalog/samsa/log"
)

// PowerFail takes what was not synced: nil takes all of it; otherwise rng draws
// how much is taken, from nothing to everything: any sectors of a file, some of
// them torn, and any changes of a directory. Handles opened before are dead; the
// disk serves new ones at once, and the faults that are left are off.
func (d *Disk) PowerFail(rng *rand.Rand) error {
	keep := 0.0
	if rng != nil {
		keep = []float64{0, 0.5, 1, rng.Float64()}[rng.Intn(4)]
	}
	return d.PowerFailKeeping(keep, rng)
}

// PowerFailKeeping is PowerFail that keeps a share of what was not synced, from 0
// for nothing to 1 for everything; rng draws what. It tears blocks too: of those
// that are taken, and of those that are kept the last one of a file. With nil none
// is torn, and the share counts as 0 unless it is 1.
func (d *Disk) PowerFailKeeping(share float64, rng *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die(nil)
	d.endTraps()
	cut := powerCut{share, rng}
	if err := d.failTrees(cut); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := d.failDir(path, d.dirs[path], cut); err != nil {
			return err
		}
	}
	return nil
}

// A powerCut draws what is left of what was not synced.
type powerCut struct {
	share float64
	rng   *rand.Rand
}

func (c powerCut) stays() bool {
	if c.rng == nil {
		return c.share >= 1
	}
	return c.rng.Float64() < c.share
}

// one tells whether something that happens to one in n happens.
func (c powerCut) one(n int) bool { return c.rng != nil && c.rng.Intn(n) == 0 }

func (d *Disk) failDir(path string, in *dir, cut powerCut) error {
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
		if cut.stays() {
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
	order := slices.SortedFunc(maps.Keys(all), func(a, b *node) int { return strings.Compare(a.path, b.path) })
	for _, n := range order {
		if err := d.failFile(n, cut); err != nil {
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
		n.path, n.name, n.refs = to, to, 1
	}
	in.synced, in.changes, in.now = left, nil, maps.Clone(left)
	return nil
}

// failFile takes what was not synced of one file.
func (d *Disk) failFile(n *node, cut powerCut) error {
	if len(n.layers) == 0 {
		return nil
	}
	f, err := d.under.Open(n.path)
	if err != nil {
		return err
	}
	n.size, err = cut.revert(f, n)
	n.layers = nil
	return errors.Join(err, f.Close())
}

// revert puts sectors back as they were, and returns the size that is left.
func (c powerCut) revert(f log.File, n *node) (int64, error) {
	was, old := n.durable()
	now, err := f.Size()
	if err != nil {
		return 0, err
	}
	left := c.size(was, now)
	if err := f.Truncate(max(was, now)); err != nil {
		return 0, err
	}
	sectors := slices.Sorted(maps.Keys(old))
	for i, s := range sectors {
		at := 0 // from here on the sector is as it was
		switch stays := c.stays(); {
		case stays && (i < len(sectors)-1 || !c.one(2)):
			continue
		case stays || c.one(8): // torn: its first bytes are new
			if at, err = c.tear(f, s, old[s]); err != nil {
				return 0, err
			}
		}
		if _, err := f.WriteAt(old[s][at:], s*sector+int64(at)); err != nil {
			return 0, err
		}
	}
	return left, f.Truncate(left)
}

// tear draws where a sector is torn, among the bytes that have changed.
func (c powerCut) tear(f log.File, s int64, old []byte) (int, error) {
	now := make([]byte, sector)
	if _, err := f.ReadAt(now, s*sector); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	first, last := 0, sector-1
	for first < last && now[first] == old[first] {
		first++
	}
	for last > first && now[last] == old[last] {
		last--
	}
	return first + 1 + c.rng.Intn(last-first+1), nil
}

// size draws the size of a file that was of one size, and is of another now. One
// that grew may have come to anywhere between.
func (c powerCut) size(was, now int64) int64 {
	low := was
	if c.share >= 1 {
		low = max(was, (now-1)/sector*sector) // all blocks but the last are whole
	}
	switch {
	case now > was && c.one(4):
		return low + c.rng.Int63n(now-low)
	case c.stays():
		return now
	}
	return was
}
