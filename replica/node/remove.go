package node

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A copy that the metadata gives to this broker no more is removed with its files,
// once its end has been read in a committed record: that the metadata does not know
// a partition is no reason, for it may be another cluster's or not be complete yet.
// The copy is named by its topic's id, so that no late news of a topic touches another
// of its name.
//
// A partition's directory is removed in this order, each step durable before the
// next: its label is renamed, its other files go, the label, the directory. So whatever
// a crash leaves is either a copy or something that the next start goes on removing.
const removedFile = "partition.removed"

// noteGone remembers those of the partitions that this broker has a copy of and
// shall have none. The lock is held.
func (n *Node) noteGone(ids []partition.ID) {
	for _, id := range ids {
		_, found := n.found[id]
		switch {
		case !n.assigned(id) && (n.replicas[id] != nil || found):
			n.gone[id] = true
		default:
			delete(n.gone, id)
		}
	}
}

// isGone reports whether a copy is to be removed.
func (n *Node) isGone(id partition.ID) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.gone[id] && replica.Gone(n.table, id, n.self, n.Epoch())
}

// remove ends this broker's copy of a partition. It is called by runRoles alone.
func (n *Node) remove(id partition.ID) {
	n.mu.Lock()
	r, f := n.replicas[id], n.found[id]
	delete(n.replicas, id)
	delete(n.found, id)
	delete(n.gone, id)
	n.mu.Unlock()
	dir := f.dir
	switch {
	case r != nil:
		n.quit(r)
		dir = r.dir
	case f.missing:
		n.forgetDir(filepath.Base(dir))
		return
	case dir == "":
		return
	case f.log != nil:
		if err := f.log.Close(); err != nil && !errors.Is(err, log.ErrFailed) {
			n.logger.Warn("close of a removed replica", "dir", dir, "error", err)
		}
	}
	if err := removeDir(n.cfg.FS, dir); err != nil {
		n.failStorage(err)
		return
	}
	n.forgetDir(filepath.Base(dir))
	n.logger.Info("replica removed", "broker", n.self, "dir", dir, "partition", id)
}

// removeOp ends a replica's role for good.
type removeOp struct{ done chan struct{} }

func (o *removeOp) perform(r *Replica, _ time.Time) {
	defer close(o.done)
	r.leave(partition.Resigned)
	r.lost.Store(true)
	r.retire()
}

// removeDir removes a partition's directory that has a label.
func removeDir(fsys log.FS, dir string) error {
	if err := fsys.Rename(filepath.Join(dir, partitionFile), filepath.Join(dir, removedFile)); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	return finishRemoval(fsys, dir)
}

// finishRemoval removes what is left of a directory whose removal has begun.
func finishRemoval(fsys log.FS, dir string) error {
	if err := removeIn(fsys, dir, removedFile); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	if err := fsys.Remove(filepath.Join(dir, removedFile)); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	if err := fsys.Remove(dir); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(dir))
}

// removeIn removes all that is in a directory but for one name.
func removeIn(fsys log.FS, dir, keep string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if name == keep {
			continue
		}
		if _, err := fsys.ReadDir(path); err == nil {
			if err := removeIn(fsys, path, ""); err != nil {
				return err
			}
		}
		if err := fsys.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// isRemoved reports whether the removal of a directory has begun.
func isRemoved(fsys log.FS, dir string) (bool, error) {
	f, err := fsys.Open(filepath.Join(dir, removedFile))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, f.Close()
}
