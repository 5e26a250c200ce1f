package node

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/wire"
)

func TestCloseInEveryState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.create(partition.TopicConfig{Name: "rides"})
		require.NoError(t, c.stop(1))

		n, err := Open(c.config(1)) // never run
		require.NoError(t, err)
		require.NoError(t, n.Close())
		require.NoError(t, n.Close())

		n, err = Open(c.config(1)) // failed before it ran
		require.NoError(t, err)
		n.Attach(peers{}, voter{c.a, 1})
		n.Apply(1, []byte("no record at all"))
		require.ErrorContains(t, n.Run(t.Context()), "node: broker 1: metadata entry 1: ")
		require.NoError(t, n.Close())

		n, err = Open(c.config(1)) // told to stop before it ran
		require.NoError(t, err)
		n.Attach(peers{}, voter{c.a, 1})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, n.Run(ctx))
		require.NoError(t, n.Close())
	})
}

// A broker that dies is replaced at once: whoever holds its heartbeat sees the link
// break, and finds nobody there.
func TestADeadLeaderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: 2})
		c.waitISR(id, 3)
		for round := range 3 {
			require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)
			dead := c.leader(id).self
			begun := time.Now()
			c.kill(dead)
			if c.a.leader == dead {
				c.a.lead(dead%3 + 1)
			}
			c.until("another leader", func() bool { return c.leader(id) != nil })
			require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)
			require.Less(t, time.Since(begun), time.Second)
			require.Equal(t, log.Offset(2*round+2), c.leader(id).replica(id).highWatermark())
			c.start(dead)
			c.waitISR(id, 3)
		}
	})
}

// A broker that has registered and does not see it yet takes no role: what its table
// says is of before its log.
func TestNoRoleBeforeTheRegistrationIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 1})
		c.waitISR(id, 2)
		c.kill(2)
		fetched := make(chan struct{}, 1)
		c.net.Lose(func(from, _ transport.Addr, f transport.Frame) bool {
			if from == "broker-2" && f.Kind == transport.Kind(KindFetch) {
				select {
				case fetched <- struct{}{}:
				default:
				}
			}
			return false
		})
		n, err := Open(c.config(2))
		require.NoError(t, err)
		c.a.join(2, n)
		c.a.hold(2)
		c.run(2, n)
		c.until("answer", func() bool { return n.Epoch() != 0 })
		time.Sleep(5 * time.Second)
		r := n.replica(id)
		require.True(t, r == nil || r.follower == nil && r.leader == nil)
		require.Empty(t, fetched)
		b, _ := c.node(1).Broker(2)
		require.True(t, b.Fenced, "it has not applied its registration")
		c.a.release(2)
		c.ready(2)
		c.waitISR(id, 2)
	})
}

// Another process under the same id and directory ends this one.
func TestASupersededBrokerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.node(1)
		req := control.RegisterRequest{Broker: partition.Broker{
			ID: 1, Addr: addr(1), Directory: n.Directory(), Incarnation: partition.UUID{9, 9},
		}}
		w := wire.NewWriter(nil)
		req.Encode(w)
		_, err := n.Handle(t.Context(), Message{Kind: KindRegister, Head: w.Bytes()})
		require.NoError(t, err)
		err = <-c.members[1].ended
		require.ErrorIs(t, err, ErrSuperseded)
		require.NotContains(t, err.Error(), "storage")
		c.members[1].ended <- nil
		require.NoError(t, c.stop(1))
		require.Empty(t, contents(t, c.members[1].disk, "data/clean"))
	})
}

func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: 2})
		c.waitISR(id, 3)
		n := c.leader(id)
		begun := time.Now()
		require.NoError(t, n.HandOver(t.Context()))
		require.Less(t, time.Since(begun), 100*time.Millisecond, "it does not wait for the next heartbeat")
		c.until("another leader", func() bool { l := c.leader(id); return l != nil && l != n })
		require.NoError(t, c.stop(n.self))

		last := c.leader(id)
		c.a.lead(partition.NoBroker)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, last.HandOver(ctx), context.DeadlineExceeded)
	})
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, newCluster(t, 1).node(1).HandOver(t.Context()), "there is nobody to hand over to")
	})
}

// What the metadata says in passing, before a replica has looked, does not matter;
// and a state older than the one known never comes back.
func TestRolesFollowTheNewestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 1})
		c.waitISR(id, 2)
		n := c.leader(id)
		st, _ := n.State(id)
		r := n.replica(id)
		other := 3 - n.self
		assign := func(edit func(*partition.State)) *role {
			s := st
			edit(&s)
			o := &assignOp{Assignment: replica.Assignment{State: &s, MinISR: 1, Self: n.Epoch(), Registered: true}, done: make(chan struct{})}
			r.do(o)
			<-o.done
			return r.standing.Load()
		}
		before := r.standing.Load()
		require.Same(t, before, assign(func(s *partition.State) { s.PartitionEpoch--; s.Epoch--; s.Leader = other }), "an older state")
		require.Same(t, before, assign(func(s *partition.State) { s.PartitionEpoch += 2; s.ISR = []partition.BrokerID{n.self} }), "the same epoch")
		// Two elections at once: it led before and leads now, and knows nothing of between.
		again := assign(func(s *partition.State) { s.PartitionEpoch += 4; s.Epoch += 2 })
		require.Equal(t, &role{epoch: st.Epoch + 2, leader: n.self, leads: true}, again)
		require.Equal(t, &role{epoch: st.Epoch + 3}, assign(func(s *partition.State) { s.PartitionEpoch += 5; s.Epoch += 3; s.Leader = partition.NoBroker }))
		require.Equal(t, &role{epoch: st.Epoch + 4, leader: other}, assign(func(s *partition.State) { s.PartitionEpoch += 6; s.Epoch += 4; s.Leader = other }))
	})
}

// A leader's answer that does not fit the log is the leader's fault, not the disk's.
func TestARefusalOfTheLogIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 2})
		c.waitISR(id, 2)
		n := c.node(3 - c.leader(id).self)
		c.until("follower", func() bool { r := n.replica(id); return r != nil && r.standing.Load().leader != partition.NoBroker })
		r := n.replica(id)
		stray := append(log.Batch(nil), batch(1, 10)...)
		stray.Place(7, 0)
		done := make(chan struct{})
		r.do(lookOp(func() {
			r.carry(time.Now(), replica.Output{Append: stray})
			close(done)
		}))
		<-done
		require.NoError(t, n.ctx.Err())
		require.Zero(t, r.log.End())
		require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)
	})
}

// createLate asks for a topic, of which the proposal waits for the gate. It returns how many
// entries there are, and where the answer comes.
func (c *cluster) createLate(n *Node) (entries int, answer <-chan partition.Code) {
	c.a.mu.Lock()
	c.a.gate = make(chan struct{})
	entries = len(c.a.entries)
	c.a.mu.Unlock()
	created := make(chan partition.Code, 1)
	go func() {
		req := partition.CreateTopicRequest{Config: partition.TopicConfig{Name: "rides", Partitions: 1}}
		created <- n.HandleCreateTopic(c.t.Context(), req, partition.UUID{1}).Code
	}()
	synctest.Wait()
	return entries, created
}

// A proposal of an earlier reign that fails late says nothing of the present one.
func TestALateRefusalIsNotOfThisReign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.node(1)
		n.mu.RLock()
		old := n.reign
		n.mu.RUnlock()
		c.a.lead(partition.NoBroker)
		synctest.Wait()
		c.a.lead(1)
		synctest.Wait()
		n.mu.RLock()
		require.Greater(t, n.reign, old)
		n.mu.RUnlock()
		before, created := c.createLate(n)
		n.dropped(old)
		time.Sleep(time.Second)
		close(c.a.gate)
		require.Equal(t, partition.OK, <-created)
		synctest.Wait()
		require.Len(t, c.a.entries, before+1, "it was proposed once")
	})
}

// A proposal waits until its broker has led twice: what it was decided on may be no more.
func TestAProposalIsOfItsReign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.node(1)
		synctest.Wait()
		before, created := c.createLate(n)
		c.a.lead(partition.NoBroker)
		synctest.Wait()
		require.Equal(t, partition.NotController, <-created)
		c.a.lead(1)
		synctest.Wait()
		close(c.a.gate)
		synctest.Wait()
		c.a.mu.Lock()
		defer c.a.mu.Unlock()
		for _, data := range c.a.entries[before:] {
			records, err := partition.DecodeRecords(data)
			require.NoError(t, err)
			for _, r := range records {
				_, creates := r.(partition.CreateTopic)
				require.False(t, creates, "%+v", r)
			}
		}
	})
}

func TestErrorsAreToldApart(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want partition.Code
	}{
		{errors.Join(log.ErrFailed, errKilled), partition.StorageFailed},
		{errors.Join(log.ErrFailed, syscall.ENOSPC), partition.StorageFailed},
		{syscall.ENOSPC, partition.DiskFull},
		{log.ErrTooLarge, partition.BatchTooLarge},
		{log.ErrUnsupported, partition.Unsupported},
		{log.ErrShort, partition.CorruptBatch},
		{log.ErrOutOfOrder, partition.CorruptBatch},
		{&log.CorruptError{}, partition.CorruptBatch},
		{errKilled, partition.StorageFailed},
	} {
		require.Equal(t, tt.want, writeCode(tt.err), "%v", tt.err)
		require.Equal(t, tt.want == partition.DiskFull, isFull(tt.err), "%v", tt.err)
		require.Equal(t, tt.want != partition.StorageFailed, passes(tt.err), "%v", tt.err)
	}
	require.Equal(t, partition.OutOfRange, readCode(&log.RangeError{}))
	require.Equal(t, partition.CorruptBatch, readCode(&log.CorruptError{}))
	require.Equal(t, partition.NotLeader, readCode(log.ErrClosed))
	require.Equal(t, partition.StorageFailed, readCode(errKilled))
}

// A sole replica whose disk was lost comes back with an empty log. To elect it would
// pass off nothing as all that was acknowledged; and another restart, after which the
// directory is no longer new, must not change that.
func TestAWipedSoleReplicaIsNotElectedEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 1, Partitions: 3})
		for c.leader(id).self == 1 { // broker 1 runs the controller
			id.Partition++
			c.until("leader", func() bool { return c.leader(id) != nil })
		}
		n := c.leader(id)
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		c.kill(n.self)
		time.Sleep(time.Second)
		c.members[n.self].disk = logtest.NewDisk(log.NewMemFS())
		cfg := c.config(n.self)
		cfg.Fresh = partition.UUID{0xEE}
		again, err := Open(cfg)
		require.NoError(t, err)
		c.run(n.self, again)
		for range 2 {
			c.ready(n.self)
			time.Sleep(10 * time.Second)
			st, _ := c.node(1).State(id)
			require.Equal(t, partition.NoBroker, st.Leader)
			require.Equal(t, []partition.BrokerID{n.self}, st.LastKnownELR)
			c.kill(n.self)
			c.start(n.self)
		}
		// A copy made for a new topic is another thing.
		c.ready(n.self)
		fresh := c.create(partition.TopicConfig{Name: "orders", Replicas: 3, MinISR: 2})
		c.waitISR(fresh, 3)
	})
}

// A copy that has caught up once is as good as any, also after a restart.
func TestACopyMadeAnewCountsOnceItHasCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: 2})
		c.waitISR(id, 3)
		require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)
		wiped := c.leader(id).self%3 + 1
		for wiped == 1 || wiped == c.leader(id).self {
			wiped = wiped%3 + 1
		}
		c.kill(wiped)
		time.Sleep(time.Second)
		c.members[wiped].disk = logtest.NewDisk(log.NewMemFS())
		cfg := c.config(wiped)
		cfg.Fresh = partition.UUID{0xEE}
		again, err := Open(cfg)
		require.NoError(t, err)
		c.run(wiped, again)
		c.waitISR(id, 3)
		c.until("the label", func() bool { return !c.node(wiped).replica(id).behind.Load() })
		c.kill(wiped)
		c.start(wiped)
		c.waitISR(id, 3)
		end, ok := c.node(wiped).logEnd(id)
		require.True(t, ok)
		require.False(t, end.Damaged)
	})
}
