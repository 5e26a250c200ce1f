package replicatest

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "play this seed alone")
	story     = flag.Bool("story", false, "with -seed, print every event")
	firstSeed = flag.Uint64("first", 1, "the first of many seeds")
	manySeeds = flag.Uint64("seeds", quickSeeds, "how many seeds to play")
	events    = flag.Int("events", 5000, "events of a seed before its faults end")
	limit     = flag.Duration("limit", 0, "play no further seed once this time has passed; 0 is no limit")
)

// onceFailed are seeds that have found something, in the product or in an excuse of the
// observer's, and are played first. What a seed does changes with the simulator, so
// each fault has a test of its own where it was mended.
var onceFailed = []struct {
	seed   uint64
	events int
	found  string
}{
	{46, 5000, "a flipped bit below the recovery point, which recovery does not see"},
	{378, 5000, "MinISR 1, where a broken disk may be the only one that counts"},
	{568, 5000, "a Replicated topic that has given up what two power cuts took"},
	{692, 5000, "a late registration from the disk before this one"},
	{931, 5000, "a late registration of a dead process, which ended the living one"},
	{1429, 5000, "the same"},
	{2415, 5000, "a quorum-state whose name was never synced, and the power that took it"},
	{2765, 5000, "the same"},
	{116, 15000, "a copy that was acknowledged from the page cache, and lost with the power"},
	{1601, 15000, "a MinISR that needs a copy which is damaged for good"},
	{1906, 15000, "a disk that was replaced twice after it had held what was acknowledged"},
	{18, 5000, "a flipped bit in front of a log's start, in a segment that holds that too"},
	{43, 15000, "an unclean election that ended a reassignment, to the one who was elected"},
	{116, 5000, "what is left of several batches, in the middle of which a log starts"},
	{147, 5000, "a reassignment to a disk that had been replaced, before anybody could know"},
	{197, 5000, "a follower that ended within a filler of its leader"},
	{237, 15000, "a copy that has not got yet what has superseded its records elsewhere"},
	{278, 5000, "a voter whose record of what is flushed had never reached the disk, and a flipped bit"},
	{1330, 5000, "a MinISR of 1, asked for when a disk had broken that was then the only one"},
	{1583, 5000, "a voter whose disk has rotted, and whose copies nobody can do without by now"},
	{21004689, 5000, "a flipped bit by which one entry of a voter's log covers another"},
	{21002453, 5000, "entries that the power left, and the record of their being synced did not outlive"},
	{7001070, 5000, "entries of the last second before a power cut, and a flipped bit in them"},
	{9000759, 5000, "a voter that meets the damage of its log when it drops entries"},
	{11002152, 5000, "a leader of before an unclean election, heard by who has won it and does not know"},
	{2495406201, 5000, "what a compaction had left of records that an unclean election gave up"},
	{2652307761, 5000, "an operator who gave up while the controller was being replaced"},
	{6, 5000, "two operators who have two replicas elected: both were asked for ever"},
	{201524, 20000, "a replica behind the log's start whose metadata says that it is complete"},
	{5644, 5000, "a bit flipped before anything was committed, in what was soon the only copy"},
	{3601, 15000, "a leader whose log starts where nothing is committed any more, within a batch"},
	{815330, 5000, "a record that was committed while its leader looked at a compaction"},
	{711191, 20000, "a key whose newest record was given up, and the one before compacted away"},
	{911144, 15000, "a controller's proposal of an earlier reign, held up by a disk that hung, in the next one"},
	{1256, 15000, "a leader whose log begins where that of the others still has more before"},
	{407, 15000, "what a compaction had left of records that one unclean election gave up and another brought back"},
	{219, 15000, "a late registration of a former disk, and then a late one of the present disk"},
	{2793, 20000, "a copy in the making that was elected, and had been told of tombstones behind its end"},
	{3027942801, 5000, "a copy that began anew from one leader, and went on from another that had removed fewer tombstones"},
	{3027938145, 5000, "what a compaction had left of records that were given up, and came back"},
	{3027944129, 5000, "a topic that was asked for twice"},
	{3605520120, 5000, "a topic that was being deleted while an operator had a leader elected"},
	{772384, 5000, "what a compaction had left of records that were given up, between the ends of those that came after"},
	{88213565, 5000, "what was on its way to a disk at a power cut, behind a bit that is another"},
	{83000671, 5000, "what a copy said in its last life, heard when it had been discarded in this one"},
	{77000397, 5000, "a ballot, while who had been elected uncleanly before had not said that it leads"},
	{292, 15000, "a ballot in the entry in which the last of those who were asked may lead again"},
	{77000024, 5000, "messages that were on their way when all faults had ended"},
	{86000020, 5000, "records that were deleted, and came back with the next leader"},
	{86000100, 5000, "the same"},
	{86000861, 5000, "the same"},
	{92003978, 5000, "a high watermark of before an unclean election, lowered with the first of two cuts"},
	{92003979, 5000, "a log that starts within what a compaction had left, and the power that took its tail"},
	{91005015, 5000, "a bit of what a compaction had left, before it took the place of the segments"},
	{92502254, 5000, "a bit of the newest slot, until the power brought back what it had been"},
	{92507554, 5000, "a copy of a deleted topic, compacted by who had not heard"},
	{3459700842, 5000, "a bit of the synced slot, and then the power took the other"},
	{95002809, 5000, "a bit of a copy, while another's lacked records and had not said so"},
	{83005840, 5000, "records that one unclean election gave up and another brought back, and what had been compacted for them"},
	{3117354849, 5000, "what a compaction had left for the sake of records that were given up, read again, and elected"},
	{84002240, 20000, "a leader who was away since it was elected, and with it all that was deleted meanwhile"},
	{84001061, 20000, "the same"},
	{95010019, 5000, "a bit of the newest slot, where the other was of before a compaction"},
}

// play plays a seed, with raft's own dice from it too. So no test here is parallel.
func play(t *testing.T, opt Options) Result {
	t.Helper()
	cryptotest.SetGlobalRandom(t, opt.Seed)
	return Run(opt)
}

// Seeds are played, and after every event of theirs no invariant is broken; one in
// twenty is played twice, and must come out the same.
func TestSim(t *testing.T) {
	if *oneSeed != 0 {
		opt := Options{Seed: *oneSeed, Events: *events}
		if *story {
			opt.Story = func(line string) { fmt.Println(line) }
		}
		r := play(t, opt)
		t.Logf("seed %d: %d events in %v of the cluster's time, %d faults, %+v, hash %x", r.Seed, r.Events, r.Virtual, len(r.Faults), r.Counts, r.Hash)
		if r.Err != nil {
			report(t, opt, r)
		}
		return
	}
	for _, s := range onceFailed {
		opt := Options{Seed: s.seed, Events: s.events}
		if r := play(t, opt); r.Err != nil {
			report(t, opt, r)
		}
	}
	n := *manySeeds
	if testing.Short() {
		n = min(n, 20)
	}
	playMany(t, n)
}

func playMany(t *testing.T, n uint64) {
	begun := time.Now()
	var total Counts
	played, sum := 0, 0
	for seed := *firstSeed; seed < *firstSeed+n && (*limit == 0 || time.Since(begun) < *limit); seed++ {
		opt := Options{Seed: seed, Events: *events}
		r := play(t, opt)
		if r.Err != nil {
			report(t, opt, r)
			continue
		}
		if seed%20 == 0 {
			if again := play(t, opt); again.Hash != r.Hash {
				t.Errorf("seed %d: its trace is another when it is played again", seed)
			}
		}
		played++
		sum += r.Events
		total.add(r.Counts)
	}
	t.Logf("%d seeds, %d events, %.0f a second: %+v", played, sum, float64(sum)/time.Since(begun).Seconds(), total)
	if played > 100 && (total.Acked < 20*played || total.Epochs < played || total.Crashes < played) {
		t.Errorf("there is too little to see: %+v", total)
	}
}

func (c *Counts) add(o Counts) {
	c.Acked += o.Acked
	c.Refused += o.Refused
	c.Unknown += o.Unknown
	c.Read += o.Read
	c.Epochs += o.Epochs
	c.Crashes += o.Crashes
	c.Committed += o.Committed
	c.Wishes += o.Wishes
	c.Removed += o.Removed
	c.Unclean += o.Unclean
	c.Balanced += o.Balanced
	c.Settled += o.Settled
	c.Deleted += o.Deleted
	c.Cold += o.Cold
	c.Compacted += o.Compacted
	c.Anew += o.Anew
}

// report tells how a seed failed: which faults it took, and the end of its trace.
func report(t *testing.T, opt Options, r Result) {
	t.Helper()
	first := r.Err
	r = Shrink(opt, r, 200, func(o Options) Result { return play(t, o) })
	var b strings.Builder
	for _, f := range r.Faults {
		if !f.Spared {
			fmt.Fprintf(&b, "  %v\n", f)
		}
	}
	t.Errorf("seed %d breaks %v\nwith these faults alone it breaks %v\n%sthe end of its trace then:\n%s\nplay it again: go test ./replica/replicatest -run Sim -seed=%d -events=%d -story",
		opt.Seed, first, r.Err, b.String(), strings.Join(r.Trace[max(0, len(r.Trace)-40):], "\n"), opt.Seed, *events)
}
