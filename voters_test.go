package samsa_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// A fleet is some brokers of one network, of which the first voters have votes.
type fleet struct {
	t       *testing.T
	net     *transport.Network
	voters  []samsa.Voter
	disks   map[samsa.BrokerID]log.FS
	brokers map[samsa.BrokerID]*samsa.Broker
}

func newFleet(t *testing.T, voters int) *fleet {
	f := &fleet{t: t, net: transport.NewNetwork(), disks: make(map[samsa.BrokerID]log.FS), brokers: make(map[samsa.BrokerID]*samsa.Broker)}
	for id := samsa.BrokerID(1); int(id) <= voters; id++ {
		f.voters = append(f.voters, samsa.Voter{ID: id, Addr: addrOf(id)})
	}
	return f
}

func addrOf(id samsa.BrokerID) string { return fmt.Sprint("broker-", id) }

func (f *fleet) open(ids ...samsa.BrokerID) {
	f.t.Helper()
	for _, id := range ids {
		if f.disks[id] == nil {
			f.disks[id] = log.NewMemFS()
		}
		b, err := samsa.Open(f.t.Context(), samsa.Config{
			ID: id, Addr: addrOf(id), Transport: f.net, Voters: f.voters, FS: f.disks[id], Dir: "data",
		})
		require.NoError(f.t, err)
		f.brokers[id] = b
	}
}

func (f *fleet) ready(ctx context.Context, ids ...samsa.BrokerID) {
	f.t.Helper()
	for _, id := range ids {
		require.NoError(f.t, f.brokers[id].Ready(ctx))
	}
}

func (f *fleet) closeAll() {
	for _, id := range []samsa.BrokerID{5, 4, 3, 2, 1} {
		if b := f.brokers[id]; b != nil {
			require.NoError(f.t, b.Close())
		}
	}
}

// until waits until a broker's quorum is as wanted.
func (f *fleet) until(id samsa.BrokerID, good func(samsa.QuorumStatus) bool) {
	f.t.Helper()
	for range 10_000 {
		if good(f.brokers[id].Quorum()) {
			return
		}
		time.Sleep(10 * time.Millisecond) // in a bubble
	}
	require.FailNow(f.t, "not so", "%+v", f.brokers[id].Quorum())
}

func votersOf(s samsa.QuorumStatus) []samsa.BrokerID {
	var ids []samsa.BrokerID
	for _, v := range s.Voters {
		ids = append(ids, v.ID)
	}
	return ids
}

// Two brokers without a vote hold copies, lead and are read from like the others, also
// after a restart; one gets a vote, so that the quorum outlives a founder.
func TestBrokersThatAreNoVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		f := newFleet(t, 3)
		f.open(1, 2, 3, 4, 5)
		f.ready(ctx, 1, 2, 3, 4, 5)
		require.Equal(t, quorum.Observer, f.brokers[4].Quorum().Role)
		client := f.brokers[4].Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Partitions: 10, Replicas: 3}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		send := func(n int) {
			for i := range n {
				_, err := producer.Send(ctx, samsa.Record{Topic: "t", Key: fmt.Append(nil, i), Value: []byte("v")})
				require.NoError(t, err)
			}
		}
		send(50)
		require.Positive(t, f.brokers[4].Stats().Leading)
		require.Positive(t, f.brokers[5].Stats().Leading)

		require.NoError(t, f.brokers[5].Close())
		send(50)
		f.open(5)
		f.ready(ctx, 5)

		require.NoError(t, f.brokers[5].Client().AddVoter(ctx, 4))
		f.until(5, func(s samsa.QuorumStatus) bool { return slices.Equal(votersOf(s), []samsa.BrokerID{1, 2, 3, 4}) })
		require.NoError(t, f.brokers[4].Client().RemoveVoter(ctx, 1))
		f.until(4, func(s samsa.QuorumStatus) bool { return slices.Equal(votersOf(s), []samsa.BrokerID{2, 3, 4}) })
		require.NoError(t, f.brokers[1].Close())
		send(50)
		f.open(1) // a founder that has no vote any more
		f.ready(ctx, 1)
		f.until(1, func(s samsa.QuorumStatus) bool { return s.Role == quorum.Stranger })
		require.NoError(t, f.brokers[2].Close())
		f.brokers[2] = nil
		send(50)
		require.Error(t, f.brokers[5].Client().AddVoter(ctx, 77))
		require.NoError(t, f.brokers[5].Client().AddVoter(ctx, 4), "it has one")
		f.closeAll()
	})
}

// A voter that lost its disk works as a broker at once, and has its vote again when an
// operator says so.
func TestVoterThatLostItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		f := newFleet(t, 3)
		f.open(1, 2, 3)
		f.ready(ctx, 1, 2, 3)
		require.NoError(t, f.brokers[1].Client().CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
		require.NoError(t, f.brokers[3].Close())
		f.disks[3] = log.NewMemFS()
		f.open(3)
		f.ready(ctx, 3)
		require.Equal(t, quorum.Stranger, f.brokers[3].Quorum().Role)
		leader := f.brokers[1].Quorum().Leader
		f.until(leader, func(s samsa.QuorumStatus) bool { return len(s.Strangers) == 1 && s.Strangers[0].ID == 3 })
		require.NoError(t, f.brokers[2].Client().AddVoter(ctx, 3))
		f.until(3, func(s samsa.QuorumStatus) bool {
			return s.Role == quorum.Follower && slices.Equal(votersOf(s), []samsa.BrokerID{1, 2, 3})
		})
		require.NoError(t, f.brokers[leader].Close())
		f.brokers[leader] = nil
		f.until(3, func(s samsa.QuorumStatus) bool { return s.Leader != leader && s.Leader != 0 })
		f.closeAll()
	})
}

// A voter that has lost what it promised, and not who it is, says so instead of promising
// anew. With an empty directory it is another voter.
func TestVoterThatLostItsPromisesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		f := newFleet(t, 3)
		f.open(1, 2, 3)
		f.ready(ctx, 1, 2, 3)
		require.NoError(t, f.brokers[3].Close())
		clusterDir := filepath.Join("data", "__cluster")
		require.NoError(t, logtest.RemoveTree(f.disks[3], clusterDir))
		_, err := samsa.Open(ctx, samsa.Config{ID: 3, Addr: addrOf(3), Transport: f.net, Voters: f.voters, FS: f.disks[3], Dir: "data"})
		require.ErrorIs(t, err, samsa.ErrCorrupt)
		require.ErrorContains(t, err, clusterDir+" is not what voter 3 in directory ")
		require.ErrorContains(t, err, "it is gone; put it back whole, or have the broker begin with an empty directory")
		f.disks[3] = log.NewMemFS()
		f.open(3)
		f.ready(ctx, 3)
		require.Equal(t, quorum.Stranger, f.brokers[3].Quorum().Role)
		f.closeAll()
	})
}

// A client without a broker changes the voters too, whoever of them leads.
func TestADialledClientChangesTheVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		f := newFleet(t, 3)
		f.open(1, 2, 3, 4)
		f.ready(ctx, 1, 2, 3, 4)
		client, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: []string{addrOf(2), addrOf(4)}, Transport: f.net})
		require.NoError(t, err)
		defer client.Close()
		require.NoError(t, client.AddVoter(ctx, 4))
		require.NoError(t, client.AddVoter(ctx, 4), "it is on the way")
		f.until(2, func(s samsa.QuorumStatus) bool { return slices.Equal(votersOf(s), []samsa.BrokerID{1, 2, 3, 4}) })
		require.NoError(t, client.AddVoter(ctx, 4), "it is there")
		f.until(2, func(samsa.QuorumStatus) bool { // no record says so
			return slices.Equal(client.Cluster().Voters, []samsa.BrokerID{1, 2, 3, 4})
		})

		f.until(4, func(s samsa.QuorumStatus) bool { return s.Leader != 0 }) // it may be just being elected
		leader := f.brokers[4].Quorum().Leader
		require.NoError(t, client.RemoveVoter(ctx, leader), "the leader itself")
		f.until(4, func(s samsa.QuorumStatus) bool { return len(s.Voters) == 3 && s.Leader != leader && s.Leader != 0 })
		require.NoError(t, client.RemoveVoter(ctx, leader), "it is gone")

		err = client.AddVoter(ctx, 77)
		require.ErrorIs(t, err, samsa.ErrInvalidVoters)
		require.ErrorContains(t, err, "samsa: add voter 77: ")
		require.ErrorContains(t, err, "the broker is not registered")
		require.ErrorIs(t, client.AddVoter(ctx, 0), samsa.ErrInvalidVoters)
		for _, id := range votersOf(f.brokers[4].Quorum())[:2] {
			require.NoError(t, client.RemoveVoter(ctx, id))
		}
		f.until(4, func(s samsa.QuorumStatus) bool { return len(s.Voters) == 1 }) // it may hear of it later
		last := votersOf(f.brokers[4].Quorum())
		require.ErrorIs(t, client.RemoveVoter(ctx, last[0]), samsa.ErrInvalidVoters)
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		require.NoError(t, f.brokers[last[0]].Close())
		f.brokers[last[0]] = nil
		require.ErrorIs(t, client.AddVoter(short, 1), context.DeadlineExceeded)
		f.closeAll()
	})
}
