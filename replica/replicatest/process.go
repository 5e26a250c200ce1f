package replicatest

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/node"
	"github.com/samsalog/samsa/replica/quorum"
)

// A process is one life of a broker. It is to the machines what a node.Node is.
type process struct {
	w    *World
	b    *broker
	id   partition.BrokerID
	fs   space
	dead bool

	incarnation, directory partition.UUID
	cleanEpoch             partition.BrokerEpoch
	suspects               []partition.ID
	lossy                  []*log.Log
	space                  *log.Space
	memory                 *log.Memory
	epoch                  partition.BrokerEpoch // of this life; 0: not registered
	fencing                bool                  // it asks to be fenced
	leaving                bool                  // it wants to stop
	stopped                func()                // once it is fenced and leads nothing

	engine *quorum.Engine
	votes  votes

	table   *partition.Table
	applied log.Offset // of the quorum's entries
	control *control.Controller
	leads   bool
	reign   log.Epoch // the term in which it leads, or did
	replies map[uint64]func(any)
	token   uint64
	early   []func() // requests that came before this voter acts as controller
	kept    []*held  // heartbeats

	copies   []*copyOf // by id
	found    map[partition.ID]*found
	gone     map[partition.ID]bool   // copies that a committed record has taken away
	dirs     map[string]partition.ID // the partitions' directories
	listed   map[string]partition.ID // those that the list of copies names
	whole    bool                    // that list is known to be
	asking   map[partition.ID]bool   // the controller is being told of a copy that must begin anew
	fetchers []*fetcher
	cold     map[partition.BrokerID]*coldSet // of its followers
	pending  map[partition.ID]bool
	rolesDue bool
	late     bool // some copy could not be made for want of room
	sights   []*sight
	beat     *call
	turn     int // of membership
}

// A found is a partition's directory that was there when the process began.
type found struct {
	label   node.Label
	log     *log.Log // nil: it does not open
	suspect bool
	damage  error // why it must begin anew; nil: it need not
	missing bool  // its directory is gone
	dir     string
}

// openProcess reads the disk as node.Open and quorum.Open do.
func openProcess(b *broker) (*process, error) {
	w := b.w
	p := &process{
		w: w, b: b, id: b.id, fs: space{b.disk, b},
		incarnation: uuid(w.rng), table: partition.NewTable(), replies: make(map[uint64]func(any)),
		found: make(map[partition.ID]*found), pending: make(map[partition.ID]bool),
		gone: make(map[partition.ID]bool), dirs: make(map[string]partition.ID), cold: make(map[partition.BrokerID]*coldSet),
		asking: make(map[partition.ID]bool),
	}
	if _, err := log.LockDir(p.fs, dataDir); err != nil {
		return nil, err
	}
	p.memory = log.NewMemory(32 << 10)
	p.space = log.NewSpace(p.fs, dataDir, reserve)
	p.control = control.New(control.Config{Session: session, Voters: len(w.setup.voters)}, p.table)
	var err error
	if p.directory, err = node.Identify(p.fs, dataDir, p.id, uuid(w.rng)); err != nil {
		return nil, err
	}
	b.directory = p.directory
	life, err := node.CountLife(p.fs, dataDir)
	if err != nil {
		return nil, err
	}
	p.incarnation = p.incarnation.WithLife(life)
	if p.cleanEpoch, err = node.TakeCleanMark(p.fs, dataDir); err != nil {
		return nil, err
	}
	if p.whole, err = node.ReadWhole(p.fs, dataDir); err != nil {
		return nil, err
	}
	if p.listed, err = node.ReadCopies(p.fs, dataDir); err != nil {
		return nil, err
	}
	if err := p.openFound(); err != nil {
		return nil, err
	}
	p.engine, err = quorum.OpenEngine(quorum.Config{
		Self: p.id, Addr: addr(p.id), Directory: p.directory, Dir: quorumDir, FS: p.fs, Voters: w.voters(),
		Tick: tick, ElectionTicks: electionTicks, SnapshotBytes: w.setup.snapshots, KeepEntries: keepEntries,
	}, p)
	return p, err
}

// quorumDir is where a voter keeps what it promises.
var quorumDir = filepath.Join(dataDir, "quorum")

// reserve is what is left free on a full disk.
const reserve = 32 << 10

// keepEntries is how many of the quorum's entries stay behind a snapshot: so few that
// who was away for a while needs it.
const keepEntries = 8

// zerosAhead is little, as segments are.
const zerosAhead = 1 << 10

func (w *World) voters() []quorum.Voter {
	var list []quorum.Voter
	for _, id := range w.setup.voters {
		list = append(list, quorum.Voter{ID: id, Addr: addr(id)})
	}
	return list
}

func addr(id partition.BrokerID) string { return string(rune('a' + id)) }

func (p *process) logConfig(t partition.TopicConfig) log.Config {
	return log.Config{
		SegmentBytes: t.SegmentBytes, MaxBatchBytes: t.MaxBatchBytes, Memory: p.memory, IndexInterval: 256,
		ZerosAhead: zerosAhead, Space: p.space, Now: p.w.clock,
	}
}

// openFound opens every partition that the directory holds.
func (p *process) openFound() error {
	names, err := p.fs.ReadDir(dataDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		dir := filepath.Join(dataDir, name)
		l, err := node.ReadLabel(p.fs, dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			if removed, err := node.IsRemoved(p.fs, dir); err != nil {
				return err
			} else if removed {
				if err := node.FinishRemoval(p.fs, dir); err != nil {
					return err
				}
			}
			continue
		}
		if owner, listed := p.listed[name]; listed && node.Spoils(err) {
			p.dirs[name] = owner
			p.found[owner] = &found{damage: err, suspect: true, dir: dir}
			p.w.watch.opened(p.b, owner, dir, nil, err, log.Recovery{})
			continue
		}
		if err != nil {
			return err
		}
		if mutate.On("flushed end unknown") {
			p.forgetFlushed(dir)
		}
		p.dirs[name] = l.ID
		if p.found[l.ID], err = p.find(dir, l); err != nil {
			return err
		}
	}
	p.findMissing()
	for _, id := range sortedKeys(p.found) {
		if f := p.found[id]; f.suspect {
			p.suspects = append(p.suspects, id)
			if f.log != nil {
				p.lossy = append(p.lossy, f.log)
			}
		}
	}
	p.w.watch.openedAll(p)
	return nil
}

// find opens the log of one partition's directory.
func (p *process) find(dir string, l node.Label) (*found, error) {
	why, discarded, err := node.KnownDamage(p.fs, dir)
	if err == nil && discarded {
		if why, err = nil, node.FinishDiscard(p.fs, dir); err == nil {
			p.w.watch.discarded(p.b, l.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	f := &found{label: l, dir: dir, damage: why}
	opened, recovery, err := p.openLog(dir, l.Topic)
	var damage error
	switch {
	case node.Spoils(err):
		f.damage, f.suspect, damage = err, true, err
	case err != nil:
		return nil, err
	default:
		f.log, f.suspect = opened, replica.Suspect(l.Topic.Durability, recovery.Lost, p.cleanEpoch != 0)
	}
	p.w.watch.opened(p.b, l.ID, dir, f.log, damage, recovery)
	if why != nil && f.log != nil && recovery.Lost { // it may have been cut with the rest
		report, err := log.Verify(p.fs, dir)
		if err == nil && len(report.Damage) == 0 {
			f.damage, err = nil, node.ForgetDamage(p.fs, dir)
		}
		return f, err
	}
	return f, nil
}

// findMissing takes the copies that are listed and were not found for damaged.
func (p *process) findMissing() {
	for _, name := range slices.Sorted(maps.Keys(p.listed)) {
		id := p.listed[name]
		if p.found[id] == nil {
			p.dirs[name] = id
			p.found[id] = &found{damage: fs.ErrNotExist, suspect: true, missing: true, dir: filepath.Join(dataDir, name)}
			p.w.watch.missing(p.b, id)
		}
	}
}

// forgetFlushed makes a log's record of its flushed end that of a new log, for a mistake
// that is made on purpose.
func (p *process) forgetFlushed(dir string) {
	scratch := log.NewMemFS()
	l, _, _ := log.Open(scratch, "new", log.Config{})
	var b log.Builder
	b.Append(0, nil, nil, nil)
	_, _ = l.Append(0, b.Build())
	from, _ := scratch.Open("new/flushed")
	to, err := p.fs.Open(filepath.Join(dir, "flushed"))
	if err != nil {
		return
	}
	fresh := make([]byte, 1024)
	n, _ := from.ReadAt(fresh, 0)
	_, _ = to.WriteAt(fresh[:n], 0)
	_ = to.Close()
}

// openLog opens a log, and sometimes a copy of what that leaves: recovery gives the same
// again (I32).
func (p *process) openLog(dir string, t partition.TopicConfig) (*log.Log, log.Recovery, error) {
	l, r, err := log.Open(p.fs, dir, p.logConfig(t))
	if err != nil || p.w.disks.IntN(4) > 0 {
		return l, r, err
	}
	other, err := p.b.disk.Clone(dir, log.NewMemFS())
	if err != nil {
		return nil, r, err
	}
	again, r2, err := log.Open(other, dir, p.logConfig(t))
	if err != nil || again.Start() != l.Start() || again.End() != l.End() || again.LastEpoch() != l.LastEpoch() || r2.Lost != r.Lost {
		p.w.fail("I32", "broker %d: %s recovers to [%d, %d) lost %t, and then to %+v, %v", p.id, dir, l.Start(), l.End(), r.Lost, r2, err)
	}
	return l, r, nil
}

// start begins what a node's Run does.
func (p *process) start() {
	w, b := p.w, p.b
	p.drive(p.engine.Begin)
	p.ticks()
	w.at(w.delay(), b, awake, "member", p.member)
	w.at(span(w.rng, 0, lag/2), b, disk, "clock", p.clock)
	w.at(span(w.rng, 0, cleanPace), b, disk, "clean", p.clean)
	w.at(span(w.rng, 0, scrubPace), b, disk, "scrub", p.scrub)
}

// trouble deals with an error of the disk: the process is dead, or goes offline.
func (p *process) trouble(err error) {
	if p.dead {
		return
	}
	p.w.tell("broker %d goes offline: %v", p.id, err)
	if errors.Is(err, logtest.ErrCrashed) {
		p.w.note("crashed", p.id, 0, 0)
		p.b.gone(true, false)
		return
	}
	p.w.note("offline", p.id, 0, 0)
	p.w.watch.failed(p.b, err)
	p.close(false)
	if p.w.disks.IntN(2) == 0 {
		p.b.powerFail(nil)
	}
	p.b.disk.Fail(errKilled)
	p.b.disk.Revive()
	p.b.gone(false, false)
}

// close ends all roles and closes the files, as the end of a node's Run and its Close
// do. It reports whether the clean mark is there.
func (p *process) close(clean bool) bool {
	for _, c := range p.copies {
		c.leave(partition.Resigned)
		c.role = role{epoch: log.NoEpoch}
		c.wakeParked()
	}
	var errs []error
	errs = append(errs, p.engine.Close())
	for _, c := range p.copies {
		errs = append(errs, c.log.Close())
	}
	for _, id := range sortedKeys(p.found) {
		if l := p.found[id].log; l != nil {
			errs = append(errs, l.Close())
		}
	}
	err := errors.Join(errs...)
	p.dead = true
	if left := p.b.disk.Handles(); err == nil && len(left) > 0 {
		p.w.fail("I34", "broker %d has files open after its end: %v", p.id, left)
	}
	epoch := p.epoch
	if epoch == 0 {
		epoch = p.cleanEpoch
	}
	if err != nil || !clean || epoch == 0 {
		return false
	}
	return node.WriteCleanMark(p.fs, dataDir, epoch) == nil
}

// stop is a clean stop, after the leadership has been handed over.
func (p *process) stop() {
	if p.dead {
		return
	}
	clean := p.close(true)
	p.w.note("stopped", p.id, int64(b2i(clean)), 0)
	p.b.disk.Fail(errKilled)
	p.b.disk.Revive()
	p.b.gone(false, false)
}

func sortedKeys[V any](m map[partition.ID]V) []partition.ID {
	ids := make([]partition.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, partition.ID.Compare)
	return ids
}

// down reports whether an error says that the process is dead, which its own code may
// take for one that passes.
func (p *process) down(err error) bool { return errors.Is(err, logtest.ErrCrashed) }
