package node

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// What is known of a copy's damage stands in its directory, in the file
//
//	damage       version 1: discarded uint8, and what is wrong in words. Written when
//	             damage is found while the log is open, so that it is not forgotten by a
//	             restart, which does not read all of it. Discarded is 1 from the moment
//	             on at which the copy may be discarded until that is done.
//
// A log that does not open has none until then.
const (
	damageFile  = "damage"
	damageMagic = 0x53444D47 // "SDMG"
	maxReason   = 1 << 12
)

// A damage is why a copy must begin anew.
type damage struct {
	err       error
	discarded bool // nobody counts on the copy, and it is being discarded
	noted     bool // on the disk; of runRoles
}

func writeDamage(fsys log.FS, dir string, d *damage) error {
	w := wire.NewWriter(nil)
	w.Bool(d.discarded)
	text := d.err.Error()
	w.String(text[:min(len(text), maxReason)])
	return log.WriteFile(fsys, filepath.Join(dir, damageFile), damageMagic, fileVersion, w.Bytes())
}

// readDamage returns nil if none is known. A file that cannot be read itself says so.
func readDamage(fsys log.FS, dir string) (*damage, error) {
	b, err := log.ReadFile(fsys, filepath.Join(dir, damageFile), damageMagic, fileVersion)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case spoils(err):
		return &damage{err: err, noted: true}, nil
	case err != nil:
		return nil, err
	}
	r := wire.NewReader(b)
	d := &damage{discarded: r.Bool(), noted: true}
	d.err = errors.New(r.String(maxReason))
	return d, r.Done()
}

func removeDamage(fsys log.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, damageFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(dir)
}

// lookRepaired forgets the damage of a copy that has lost something since it was noted,
// if nothing else is wrong with it: an operator has had it repaired.
func (n *Node) lookRepaired(f *found) error {
	report, err := log.Verify(n.cfg.FS, f.dir)
	if err != nil || len(report.Damage) > 0 {
		return err
	}
	n.logger.Warn("copy was repaired", "dir", f.dir, "end", report.End)
	f.damage = nil
	return removeDamage(n.cfg.FS, f.dir)
}

// loses reports whether an error of a read says that the disk has lost what was there:
// it is not what was written, or the disk itself says so.
func loses(err error) bool { return errors.Is(err, log.ErrCorrupt) || errors.Is(err, syscall.EIO) }

// spoils reports whether an error of opening a copy concerns that copy alone. A sync that
// failed, a disk without room and whatever else may be met in any directory do not; nor
// do files of a newer release, which nothing is wrong with.
func spoils(err error) bool { return loses(err) && !errors.Is(err, log.ErrFailed) }

// ail notes that the disk has lost some of what the log holds. The copy then begins
// anew as soon as that is possible; see anew.go. It overlaps anything.
func (r *Replica) ail(err error) {
	r.faults.Add(1)
	if r.lost.Load() || !r.damage.CompareAndSwap(nil, &damage{err: err}) {
		return
	}
	r.node.logger.Error("copy is damaged", "partition", r.name(), "error", err)
	r.node.lookAgain(r.id)
}

// recovered notes that all of the log has been read and is sound, if nobody has met
// damage since the reading began, at that count of faults: it may lie where the reading
// had been already.
func (r *Replica) recovered(before int64) {
	if r.damage.Load() != nil && r.faults.Load() == before && r.sound.CompareAndSwap(false, true) {
		r.node.lookAgain(r.id)
	}
}

// readFault notes what an error of the log says of its disk, and returns what a reader
// or follower is told. While another replica may take over it asks again there.
func (r *Replica) readFault(err error) partition.Code {
	code := readCode(err)
	if !loses(err) {
		return code
	}
	r.ail(err)
	if st, ok := r.node.State(r.id); ok && len(st.ISR) > 1 {
		return partition.NotLeader
	}
	return code
}

// damageOf says what is wrong with this broker's copy of a partition, or nothing.
func (n *Node) damageOf(id partition.ID) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if r := n.replicas[id]; r != nil {
		if d := r.damage.Load(); d != nil {
			return d.err.Error()
		}
		return ""
	}
	if err := n.found[id].damage; err != nil {
		return err.Error()
	}
	return ""
}
