package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport/wire"
)

// The files of a broker's directory, beside one directory a partition:
//
//	lock         what log.LockDir locks, from Open to Close; on the system's disk alone.
//	             A line of text on who has it, or nothing. Never removed.
//	broker       who keeps this directory: version 1, broker id int32, directory id
//	             16 bytes. Written once, when the directory is made. As a voter it has
//	             promised in the quorum's directory, so that neither goes without the other.
//	lives        how many processes have opened the directory: version 1, uint64. Counted
//	             before a process registers, so that its registration is known from a late
//	             one of its predecessor.
//	copies       which copies there are; see copies.go
//	clean        the clean mark: version 1, broker epoch int64. Written at the end of
//	             a clean stop; removed, durably, before anything else is written.
//
// and in each partition's directory, beside its log's files:
//
//	partition    version 2: topic id 16 bytes, partition int32, durability uint8,
//	             segment bytes int64, largest batch int32, behind uint8, topic name,
//	             since int32. Version 1 ends before that. Written before the log's first
//	             file. Behind is 1 while the copy was made anew and has not been in the
//	             ISR since: others may hold what an earlier copy acknowledged, so that
//	             its word does not count. Since is the leader epoch that the copy counts
//	             from; see replica.Assignment.Outdated. Renamed to "partition.removed"
//	             when the copy is to be removed.
//	damage       what is wrong with the copy; see damage.go
//
// The lock apart, all are written as log.WriteFile does. Integers are big-endian.
const (
	brokerFile    = "broker"
	brokerMagic   = 0x53424B52 // "SBKR"
	livesFile     = "lives"
	livesMagic    = 0x534C4956 // "SLIV"
	cleanFile     = "clean"
	cleanMagic    = 0x53434C4E // "SCLN"
	partitionFile = "partition"
	partMagic     = 0x53505254 // "SPRT"
	partVersion   = 2
	fileVersion   = 1
)

// reserve is what is left free on a disk that has no more room for records: for
// metadata, checkpoints, and a clean stop.
const reserve = 32 << 20

func dirName(topic string, p partition.PartitionID) string { return fmt.Sprintf("%s-%d", topic, p) }

// A found is a partition's directory that was there when the broker opened, or should
// have been.
type found struct {
	topic   string
	log     *log.Log // nil: it does not open
	suspect bool     // it may have lost what it once acknowledged
	damage  error    // why it must begin anew; nil: it need not
	missing bool     // the directory is gone
	behind  bool     // as its label says
	since   log.Epoch
	dir     string
}

// identify reads who keeps the directory, which exists, or makes it self's.
func identify(fsys log.FS, dir string, self partition.BrokerID, fresh partition.UUID) (partition.UUID, error) {
	name := filepath.Join(dir, brokerFile)
	b, err := log.ReadFile(fsys, name, brokerMagic, fileVersion)
	if errors.Is(err, fs.ErrNotExist) {
		w := wire.NewWriter(nil)
		w.Int32(int32(self))
		w.ID(fresh)
		return fresh, log.WriteFile(fsys, name, brokerMagic, fileVersion, w.Bytes())
	}
	if err != nil {
		return partition.UUID{}, fmt.Errorf("node: %s: %w", name, err)
	}
	r := wire.NewReader(b)
	owner, directory := partition.BrokerID(r.Int32()), partition.UUID(r.ID())
	if err := r.Done(); err != nil {
		return partition.UUID{}, fmt.Errorf("node: %s: %w", name, err)
	}
	if owner != self {
		return partition.UUID{}, fmt.Errorf("node: directory %s is broker %d's, not broker %d's", dir, owner, self)
	}
	return directory, nil
}

// countLife counts one more process that opens the directory, durably, and returns the
// count.
func countLife(fsys log.FS, dir string) (uint64, error) {
	name := filepath.Join(dir, livesFile)
	var lives uint64
	b, err := log.ReadFile(fsys, name, livesMagic, fileVersion)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("node: %s: %w", name, err)
	default:
		r := wire.NewReader(b)
		lives = uint64(r.Int64())
		if err := r.Done(); err != nil {
			return 0, fmt.Errorf("node: %s: %w", name, err)
		}
	}
	w := wire.NewWriter(nil)
	w.Int64(int64(lives + 1))
	return lives + 1, log.WriteFile(fsys, name, livesMagic, fileVersion, w.Bytes())
}

// takeCleanMark returns the broker epoch of the clean stop before, or 0, and
// removes the mark for good.
func takeCleanMark(fsys log.FS, dir string) (partition.BrokerEpoch, error) {
	name := filepath.Join(dir, cleanFile)
	b, err := log.ReadFile(fsys, name, cleanMagic, fileVersion)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case errors.Is(err, log.ErrCorrupt):
		b = nil // no mark is the safe reading
	case err != nil:
		return 0, fmt.Errorf("node: %s: %w", name, err)
	}
	if err := fsys.Remove(name); err != nil {
		return 0, err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return 0, err
	}
	r := wire.NewReader(b)
	epoch := partition.BrokerEpoch(r.Int64())
	if r.Done() != nil {
		epoch = 0
	}
	return epoch, nil
}

func writeCleanMark(fsys log.FS, dir string, epoch partition.BrokerEpoch) error {
	w := wire.NewWriter(nil)
	w.Int64(int64(epoch))
	return log.WriteFile(fsys, filepath.Join(dir, cleanFile), cleanMagic, fileVersion, w.Bytes())
}

// openFound opens every partition that the directory holds. One that the disk has lost
// stays out of service alone.
func (n *Node) openFound(clean bool) error {
	names, err := n.cfg.FS.ReadDir(n.cfg.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		dir := filepath.Join(n.cfg.Dir, name)
		l, err := readPartition(n.cfg.FS, dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			// Not a partition's directory, or not any more.
			removed, err := isRemoved(n.cfg.FS, dir)
			if err == nil && removed {
				err = finishRemoval(n.cfg.FS, dir)
			}
			if err != nil {
				return fmt.Errorf("node: %s: %w", dir, err)
			}
			continue
		}
		if owner, listed := n.listed[name]; listed && spoils(err) {
			n.logger.Error("partition has no label that can be read, and stays out of service", "partition", name, "error", err)
			n.dirs[name] = owner
			n.found[owner] = found{topic: name, damage: err, suspect: true, dir: dir}
			continue
		}
		if err != nil {
			// To pass it over would have the partition begin anew.
			return fmt.Errorf("node: %s: %w", dir, err)
		}
		if _, twice := n.found[l.id]; twice {
			return fmt.Errorf("node: %s: partition %v has another directory too", dir, l.id)
		}
		n.dirs[name] = l.id
		if n.found[l.id], err = n.openCopy(dir, l, clean); err != nil {
			return fmt.Errorf("node: open %s: %w", name, err)
		}
	}
	return nil
}

// openCopy opens the log of one partition's directory.
func (n *Node) openCopy(dir string, l label, clean bool) (found, error) {
	f := found{topic: l.topic.Name, behind: l.behind, since: l.since, dir: dir}
	known, err := readDamage(n.cfg.FS, dir)
	if err == nil && known != nil && known.discarded {
		known, err = nil, finishDiscard(n.cfg.FS, dir)
	}
	if err != nil {
		return f, err
	}
	if known != nil {
		f.damage = known.err
	}
	opened, recovery, err := log.Open(n.cfg.FS, dir, n.logConfig(l.topic))
	switch {
	case spoils(err):
		f.damage, f.suspect = err, true
		n.logger.Error("partition is damaged and stays out of service", "partition", filepath.Base(dir), "error", err)
	case err != nil:
		return f, err
	default:
		f.log = opened
		f.suspect = replica.Suspect(l.topic.Durability, recovery.Lost, clean)
		if f.damage != nil && recovery.Lost {
			err = n.lookRepaired(&f)
		}
		return f, err
	}
	return f, nil
}

// openReplica opens the log of a partition that the metadata assigns here. It is nil
// if that does not open.
func (n *Node) openReplica(id partition.ID, a *replica.Assignment, topic partition.TopicConfig) (*Replica, error) {
	if f, ok := n.takeFound(id); ok {
		if f.log == nil {
			return nil, nil
		}
		r := newReplica(n, id, topic, f.log, f.dir)
		r.behind.Store(f.behind)
		r.since.Store(int64(f.since))
		if f.damage != nil {
			r.damage.Store(&damage{err: f.damage, noted: true})
		}
		return r, nil
	}
	name := freeName(topic.Name, id, n.dirs)
	dir := filepath.Join(n.cfg.Dir, name)
	if err := n.cfg.FS.MkdirAll(dir); err != nil { // the log sees to its being durable
		return nil, err
	}
	fresh := label{id: id, topic: topic, behind: !n.lacksNothing(a.State), since: a.Since()}
	if err := writePartition(n.cfg.FS, dir, fresh); err != nil {
		return nil, err
	}
	l, _, err := log.Open(n.cfg.FS, dir, n.logConfig(topic))
	if err != nil {
		return nil, err
	}
	n.setDir(name, id)
	r := newReplica(n, id, topic, l, dir)
	r.behind.Store(fresh.behind)
	r.since.Store(int64(fresh.since))
	return r, nil
}

// freeName names a new copy's directory, given those that are there.
func freeName(topic string, id partition.ID, dirs map[string]partition.ID) string {
	name := dirName(topic, id.Partition)
	if owner, taken := dirs[name]; taken && owner != id {
		// Another topic of that name, which is deleted or of a cluster that is gone, has
		// left it behind.
		name = fmt.Sprintf("%s~%x", name, id.Topic[:4])
	}
	return name
}

func writePartition(fsys log.FS, dir string, l label) error {
	w := wire.NewWriter(nil)
	w.ID(l.id.Topic)
	w.Int32(int32(l.id.Partition))
	w.Uint8(uint8(l.topic.Durability))
	w.Int64(l.topic.SegmentBytes)
	w.Int32(int32(l.topic.MaxBatchBytes))
	w.Bool(l.behind)
	w.String(l.topic.Name)
	w.Int32(int32(l.since))
	return log.WriteFile(fsys, filepath.Join(dir, partitionFile), partMagic, partVersion, w.Bytes())
}

// A label is what the partition file says. Of the topic's config that is no more
// than opening the log takes.
type label struct {
	id     partition.ID
	topic  partition.TopicConfig
	behind bool
	since  log.Epoch
}

func readPartition(fsys log.FS, dir string) (label, error) {
	b, err := log.ReadFile(fsys, filepath.Join(dir, partitionFile), partMagic, partVersion)
	if err != nil {
		return label{}, err
	}
	r := wire.NewReader(b)
	l := label{id: partition.ID{Topic: r.ID(), Partition: partition.PartitionID(r.Int32())}}
	l.topic.Durability, l.topic.SegmentBytes, l.topic.MaxBatchBytes = partition.Durability(r.Uint8()), r.Int64(), int(r.Int32())
	l.behind, l.topic.Name = r.Bool(), r.String(1<<10)
	if r.Left() > 0 {
		l.since = log.Epoch(r.Int32())
	}
	return l, r.Done()
}

// counted notes that the controller counts on a copy. What was set aside of the one before
// is not needed any more once this one is complete.
func (n *Node) counted(r *Replica, a *replica.Assignment) error {
	old := r.label()
	l := old
	l.behind, l.since = a.Counted(n.self, old.behind, old.since, r.compacted.Load())
	if l == old {
		return nil
	}
	if !l.behind {
		if _, err := log.DropAside(n.cfg.FS, r.dir); err != nil {
			return err
		}
	}
	return r.relabel(l)
}

// label is what the replica's partition file says.
func (r *Replica) label() label {
	return label{id: r.id, topic: r.topic, behind: r.behind.Load(), since: log.Epoch(r.since.Load())}
}

func (r *Replica) relabel(l label) error {
	if err := writePartition(r.node.cfg.FS, r.dir, l); err != nil {
		return err
	}
	r.behind.Store(l.behind)
	r.since.Store(int64(l.since))
	return nil
}

// anew notes that this copy is about to be made anew: what it acknowledged before
// speaks for nothing until it is in the ISR again.
func (r *Replica) anew() error {
	l := r.label()
	l.behind, l.since = true, max(l.since, r.state.Epoch)
	return r.relabel(l)
}

// takeFound takes a partition that was there; one that does not open stays.
func (n *Node) takeFound(id partition.ID) (found, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, ok := n.found[id]
	if ok && f.log != nil {
		delete(n.found, id)
	}
	return f, ok
}

func (n *Node) logConfig(t partition.TopicConfig) log.Config {
	c := log.Config{
		SegmentBytes: t.SegmentBytes, MaxBatchBytes: t.MaxBatchBytes,
		Memory: n.memory, Flushes: n.flushes, Space: n.space,
	}
	if n.cfg.InMemory {
		c.ZerosAhead = -1
	}
	return c
}
