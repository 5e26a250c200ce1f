package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// A directory that is not there any more has held what its copy acknowledged; one that
// was never made has not. So a broker lists the copies that it has, in the file
//
//	copies       version 1: their number as a uvarint, and for each the topic's id of
//	             16 bytes, the partition int32 and the name of its directory, by name.
//	             Written after their directories are made, and before one of them leads
//	             or follows; and after they are removed.
//
// of its own directory. What is listed and not found is named suspect as damage is,
// and begins anew like it. And once all that the broker was assigned when it was first
// registered with this directory stands there, it says so in the file
//
//	whole        version 1: empty
//
// beside it: from then on what is not listed never was in this directory. A partition
// that counts on such a copy has committed nothing since, for a member of the ISR that
// holds nothing acknowledges nothing: the copy lacks nothing, although it is made
// late. One that is made in a directory that took another's place may lack all.
const (
	copiesFile  = "copies"
	copiesMagic = 0x53435059 // "SCPY"
	wholeFile   = "whole"
	wholeMagic  = 0x5357484c // "SWHL"
	maxCopies   = 1 << 20
	maxDirName  = 1 << 10
)

func writeCopies(fsys log.FS, dir string, copies map[string]partition.ID) error {
	w := wire.NewWriter(nil)
	w.Count(len(copies))
	for _, name := range slices.Sorted(maps.Keys(copies)) {
		id := copies[name]
		w.ID(id.Topic)
		w.Int32(int32(id.Partition))
		w.String(name)
	}
	return log.WriteFile(fsys, filepath.Join(dir, copiesFile), copiesMagic, fileVersion, w.Bytes())
}

// readCopies returns nothing if there is no list: the directory is new, or of before
// there were any.
func readCopies(fsys log.FS, dir string) (map[string]partition.ID, error) {
	name := filepath.Join(dir, copiesFile)
	copies := make(map[string]partition.ID)
	b, err := log.ReadFile(fsys, name, copiesMagic, fileVersion)
	if errors.Is(err, fs.ErrNotExist) {
		return copies, nil
	}
	if err != nil {
		return copies, fmt.Errorf("node: %s: %w", name, err)
	}
	r := wire.NewReader(b)
	for range r.Count(maxCopies, 16+4+1) {
		id := partition.ID{Topic: r.ID(), Partition: partition.PartitionID(r.Int32())}
		copies[r.String(maxDirName)] = id
	}
	if err := r.Done(); err != nil {
		return copies, fmt.Errorf("node: %s: %w", name, err)
	}
	return copies, nil
}

// setDir notes whose a new directory is, forgetDir that one is gone. They are called by
// runRoles alone.
func (n *Node) setDir(name string, id partition.ID) {
	n.dirs[name] = id
	n.unwritten = true
}

func (n *Node) forgetDir(name string) {
	delete(n.dirs, name)
	n.unwritten = true
}

// list makes durable which copies there are. It is called by runRoles alone, for each
// partition, so that it must cost nothing when there is nothing new.
func (n *Node) list() error {
	if !n.unwritten {
		return nil
	}
	if err := writeCopies(n.cfg.FS, n.cfg.Dir, n.dirs); err != nil {
		return err
	}
	n.listed, n.unwritten = maps.Clone(n.dirs), false
	return nil
}

// readWhole reports whether the list is known to be whole.
func readWhole(fsys log.FS, dir string) (bool, error) {
	name := filepath.Join(dir, wholeFile)
	switch _, err := log.ReadFile(fsys, name, wholeMagic, fileVersion); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, log.ErrCorrupt):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("node: %s: %w", name, err)
	}
	return true, nil
}

func writeWhole(fsys log.FS, dir string) error {
	return log.WriteFile(fsys, filepath.Join(dir, wholeFile), wholeMagic, fileVersion, nil)
}

// finishList makes durable that the list is whole, once it is. It is called by runRoles
// alone, after list.
func (n *Node) finishList() error {
	if n.whole || !n.allListed() {
		return nil
	}
	if err := writeWhole(n.cfg.FS, n.cfg.Dir); err != nil {
		return err
	}
	n.whole = true
	return nil
}

// allListed reports whether the broker is registered and all that it is assigned is
// listed.
func (n *Node) allListed() bool {
	listed := make(map[partition.ID]bool, len(n.listed))
	for _, id := range n.listed {
		listed[id] = true
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	b, ok := n.table.Broker(n.self)
	if !ok || n.Epoch() == 0 || b.Epoch != n.Epoch() {
		return false
	}
	return !slices.ContainsFunc(n.table.PartitionsOf(n.self), func(id partition.ID) bool { return !listed[id] })
}

// lacksNothing reports whether a copy that is made now is as complete as any: it is in
// the ISR, or was when the high watermark stood still, and never was here before.
func (n *Node) lacksNothing(s *partition.State) bool {
	last := slices.Contains(s.ELR, n.self) || slices.Contains(s.LastKnownELR, n.self)
	return slices.Contains(s.ISR, n.self) || n.whole && last
}

// findMissing takes the copies that are listed and were not found for damaged.
func (n *Node) findMissing() {
	for name, id := range n.listed {
		if _, there := n.found[id]; there {
			continue
		}
		err := fmt.Errorf("node: the directory %s is gone: %w", name, fs.ErrNotExist)
		n.logger.Error("partition is missing and stays out of service", "partition", name, "error", err)
		n.found[id] = found{topic: name, damage: err, suspect: true, missing: true, dir: filepath.Join(n.cfg.Dir, name)}
		n.dirs[name] = id
	}
}
