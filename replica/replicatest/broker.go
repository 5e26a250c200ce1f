package replicatest

import (
	"errors"
	"math/rand"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica/quorum"
)

const dataDir = "data"

// A broker is a machine: a disk, and the process that lives there now.
type broker struct {
	w    *World
	id   partition.BrokerID
	disk *logtest.Disk
	p    *process // nil: down
	life int      // rises with each death

	directory partition.UUID // that the disk is known by; zero: no process has had it yet
	torn      bool           // the power may have taken, since a process last came up, what was not synced

	voter     bool          // its disk is the one with which the quorum was formed
	refuses   bool          // while down: the machine is up, and says that nobody is there
	paused    time.Duration // until then its process stands still
	hung      time.Duration // until then its disk does not answer
	syncTime  time.Duration // how long a flush takes, about
	late      time.Duration // by how much roles follow the metadata, at most
	news      time.Duration // by how much what the quorum says comes late, at most
	usualNews time.Duration // the same, where nothing is wrong
	skew      time.Duration // of its wall clock
	limit     int64         // bytes that its disk holds; below 0: no end
	rotten    bool          // a bit of what it keeps as a voter has been
	inbound   []*call       // being served
	mirrors   map[partition.ID]*mirror
	former    map[partition.ID][]*mirror // of the disks before this one
}

func newBroker(w *World, id partition.BrokerID) *broker {
	b := &broker{w: w, id: id, voter: slices.Contains(w.setup.voters, id), limit: -1}
	if w.net.IntN(2) == 0 {
		b.usualNews = span(w.net, 0, w.setup.news)
	}
	b.renew()
	return b
}

// renew puts an empty disk in the place of the one that was there.
func (b *broker) renew() {
	b.disk = logtest.NewDisk(log.NewMemFS())
	if b.former == nil {
		b.former = make(map[partition.ID][]*mirror)
	}
	for id, m := range b.mirrors {
		b.retire(id, m)
	}
	b.mirrors = make(map[partition.ID]*mirror)
	b.rotten, b.directory = false, partition.UUID{}
	b.calm()
}

// calm ends what is wrong with the machine.
func (b *broker) calm() {
	b.syncTime = span(b.w.disks, 200*time.Microsecond, []time.Duration{2, 2, 20}[b.w.disks.IntN(3)]*time.Millisecond)
	b.late, b.news, b.paused, b.hung, b.limit = 0, b.usualNews, 0, 0, -1
	b.disk.Limit(-1)
}

// unable returns until when the process cannot do what needs need.
func (b *broker) unable(need need) time.Duration {
	switch need {
	case always:
		return 0
	case awake:
		return b.paused
	case disk:
		return max(b.paused, b.hung)
	}
	return 0
}

func (b *broker) remember(c *call) {
	if len(b.inbound) > 64 {
		b.inbound = slices.DeleteFunc(b.inbound, func(c *call) bool { return c.over })
	}
	b.inbound = append(b.inbound, c)
}

// A space is a disk that tells how much room there is on it.
type space struct {
	*logtest.Disk
	b *broker
}

// Room implements [log.Roomer].
func (s space) Room(string) (int64, error) {
	if s.b.limit < 0 {
		return 1 << 40, nil
	}
	return max(s.b.limit-s.Used(), 0), nil
}

var (
	errKilled = errors.New("replicatest: killed")
	errDisk   = &syncFault{}
)

// A syncFault is what a disk says that has broken.
type syncFault struct{}

func (*syncFault) Error() string { return "replicatest: input/output error" }

// Is makes errors.Is(err, syscall.EIO) true.
func (*syncFault) Is(target error) bool { return target == error(syscall.EIO) }

// boot starts a process, unless one is there.
func (b *broker) boot() {
	if b.p != nil {
		return
	}
	if mutate.On("KAFKA-16541") {
		b.disk.Lie("leader-epoch*")
	}
	if mutate.On("vote is not durable") {
		b.disk.Lie("quorum-state*")
	}
	p, err := openProcess(b)
	if err != nil {
		b.w.watch.bootFailed(b, err)
		b.w.note("boot failed", b.id, 0, 0)
		b.w.tell("broker %d does not start: %v", b.id, err)
		if !errors.Is(err, logtest.ErrCrashed) {
			b.disk.Fail(errKilled)
			b.disk.Revive()
			b.disk.Limit(b.limit)
		}
		b.gone(errors.Is(err, logtest.ErrCrashed), false)
		if errors.Is(err, quorum.ErrCorrupt) {
			b.w.replace(b)
		}
		return
	}
	b.p, b.refuses, b.torn = p, false, false
	b.w.note("up", b.id, int64(b.life), 0)
	p.start()
}

// kill ends the process at once. Power takes what was not synced of its disk.
func (b *broker) kill(power bool, rng *rand.Rand) {
	b.w.note("killed", b.id, int64(b.life), int64(b2i(power)))
	b.w.watch.counts.Crashes++
	forget := b.forgets()
	b.disk.Fail(errKilled)
	if power {
		b.powerFail(rng)
	}
	b.disk.Revive()
	b.disk.Limit(b.limit)
	b.gone(false, power)
	forget()
}

// harmed reports whether something has been done to a copy on its disk that is not
// known to be mended.
func (b *broker) harmed() bool {
	for _, m := range b.mirrors {
		if m.harmed() {
			return true
		}
	}
	return false
}

func (b *broker) powerFail(rng *rand.Rand) {
	b.torn = true
	if err := b.disk.PowerFail(rng); err != nil {
		b.w.fail("disk", "power failure of broker %d: %v", b.id, err)
	}
}

// gone notes that no process lives here any more, and plans another one's start.
// crashed: its disk has killed it in the middle of a call, and may take more.
func (b *broker) gone(crashed, power bool) {
	w := b.w
	if crashed {
		w.watch.counts.Crashes++
		switch w.disks.IntN(3) {
		case 0:
		case 1:
			b.powerFail(nil)
		case 2:
			b.powerFail(rand.New(rand.NewSource(w.disks.Int64())))
		}
		b.disk.Revive()
	}
	if b.p != nil {
		b.p.dead = true
	}
	w.lastWords(b)
	b.p = nil
	b.life++
	b.hung, b.paused = 0, 0
	b.refuses = !power
	for _, c := range b.inbound {
		if b.refuses && !c.over && !w.lost(b.id, c.sender()) {
			c.finishLater(w.delay(), errRefused)
		}
	}
	b.inbound = nil
	if b.refuses {
		for _, o := range w.brokers {
			if o.p != nil && o.p.leads && !w.links.isCut(o.id, b.id) {
				q := o.p
				w.at(w.delay(), o, awake, "link broken", func() { q.probe(b.id, 3) })
			}
		}
	}
	down := span(w.rng, time.Millisecond, []time.Duration{20, 200, 1500}[w.rng.IntN(3)]*time.Millisecond)
	if !b.voter {
		down /= 4
	}
	if w.calm {
		down = 50 * time.Millisecond
	}
	w.at(down, nil, always, "boot", b.boot)
}

// removeAll removes a directory of a broker that is down, for good.
func (b *broker) removeAll(dir string) error {
	names, err := b.disk.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := b.disk.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := b.disk.Remove(dir); err != nil {
		return err
	}
	return b.disk.SyncDir(filepath.Dir(dir))
}

func b2i(v bool) int {
	if v {
		return 1
	}
	return 0
}
