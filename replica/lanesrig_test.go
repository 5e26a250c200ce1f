package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A laneRig is a broker's lanes of one leader, with copies that are numbers.
type laneRig struct {
	t       *testing.T
	l       *Lanes[int]
	now     time.Time
	epoch   partition.BrokerEpoch
	members map[int]*Followed[int]
	silent  map[int]bool // who want nothing now
	busy    map[int]bool // who have need of fetches without news
}

func newLaneRig(t *testing.T, copies ...int) *laneRig {
	x := &laneRig{
		t: t, now: testStart, epoch: 7, members: make(map[int]*Followed[int]),
		silent: make(map[int]bool), busy: make(map[int]bool),
		l: NewLanes[int](LanesConfig{Self: 2, Wait: 500 * time.Millisecond, MaxBytes: 800, PartitionBytes: 100}),
	}
	for _, c := range copies {
		x.follow(c)
	}
	return x
}

func laneID(c int) partition.ID { return partition.ID{Partition: partition.PartitionID(c)} }

func (x *laneRig) sound() { require.NoError(x.t, x.l.Check()) }

func (x *laneRig) follow(c int) LanesOrders {
	m, do := x.l.Follow(x.now, laneID(c), c)
	x.members[c] = m
	x.sound()
	return do
}

func (x *laneRig) remove(c int) LanesOrders {
	defer x.sound()
	return x.l.Remove(x.members[c])
}

// begin puts a lane's next request together; nil: the lane rests.
func (x *laneRig) begin(lane Lane) *LanesRound[int] {
	r := &LanesRound[int]{Lane: lane}
	if !x.l.Begin(x.now, r) {
		x.sound()
		return nil
	}
	x.asked(r)
	return r
}

func (x *laneRig) asked(r *LanesRound[int]) LanesOrders {
	for i := range r.Asks {
		a := &r.Asks[i]
		a.Part = FetchPartition{ID: laneID(a.Copy), Ack: log.Offset(a.Sequence)}
		a.Wants, a.Cools = !x.silent[a.Copy], !x.busy[a.Copy]
	}
	do := x.l.Asked(r, x.epoch)
	x.sound()
	return do
}

// answer answers a round with news of some copies, and ends it. It returns those whom
// the lanes find told of.
func (x *laneRig) answer(r *LanesRound[int], news ...int) (told []int, do LanesOrders) {
	told = x.told(r, partition.OK, news...)
	_, do = x.l.Ended(x.now, r, false)
	x.sound()
	return told, do
}

func (x *laneRig) told(r *LanesRound[int], code partition.Code, news ...int) (told []int) {
	fresh := make(map[int]bool)
	var resp FetchResponse
	for _, c := range news {
		fresh[c] = true
		if r.Lane == Cold {
			resp.Partitions = append(resp.Partitions, FetchAnswer{ID: laneID(c), Code: code})
		}
	}
	if r.Lane != Cold {
		for _, p := range r.Request.Partitions {
			a := FetchAnswer{ID: p.ID}
			if fresh[int(p.ID.Partition)] {
				a.Code = code
			}
			resp.Partitions = append(resp.Partitions, a)
		}
	}
	x.l.Told(x.now, r, &resp)
	for i := range r.Asks {
		a := &r.Asks[i]
		require.Equal(x.t, laneID(a.Copy), resp.Partitions[a.At].ID)
		require.Equal(x.t, log.Offset(a.Sequence), a.Part.Ack, "it is handed with its own question")
		a.News = fresh[a.Copy]
		told = append(told, a.Copy)
	}
	x.l.News(x.now, r)
	x.sound()
	return told
}

func (x *laneRig) fail(r *LanesRound[int]) (time.Duration, LanesOrders) {
	defer x.sound()
	return x.l.Ended(x.now, r, true)
}

// turn is a whole turn of a lane, without news.
func (x *laneRig) turn(lane Lane) (named []int) {
	r := x.begin(lane)
	require.NotNil(x.t, r)
	named = namedIn(r)
	x.answer(r)
	return named
}

// cool has all copies in the cold lane and kept, by the cold fetch of which the sequence
// is returned.
func (x *laneRig) cool() int64 {
	x.now = x.now.Add(quiet)
	r := x.begin(Hot)
	_, do := x.answer(r)
	require.True(x.t, do.Start[Cold])
	r = x.begin(Cold)
	x.answer(r)
	require.Nil(x.t, x.begin(Hot))
	_, cold, kept := x.l.Count()
	require.Equal(x.t, len(x.members), cold)
	require.Equal(x.t, cold, kept)
	return r.Request.Sequence
}

func (x *laneRig) count(hot, cold, kept int) {
	x.t.Helper()
	h, c, k := x.l.Count()
	require.Equal(x.t, []int{hot, cold, kept}, []int{h, c, k}, "hot, cold, kept")
}

func namedIn(r *LanesRound[int]) (copies []int) {
	for _, p := range r.Request.Partitions {
		copies = append(copies, int(p.ID.Partition))
	}
	return copies
}

func started(lane Lane) (do LanesOrders) { do.Start[lane] = true; return do }

func endedNow(lane Lane) (do LanesOrders) { do.End[lane] = true; return do }
