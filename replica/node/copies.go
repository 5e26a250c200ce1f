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
// and begins anew like it.
const (
	copiesFile  = "copies"
	copiesMagic = 0x53435059 // "SCPY"
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

// list makes durable which copies there are. It is called by runRoles alone.
func (n *Node) list() error {
	if maps.Equal(n.dirs, n.listed) {
		return nil
	}
	if err := writeCopies(n.cfg.FS, n.cfg.Dir, n.dirs); err != nil {
		return err
	}
	n.listed = maps.Clone(n.dirs)
	return nil
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
