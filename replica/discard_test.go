package replica

import (
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// Each case is of broker 2, in a partition of brokers 1, 2 and 3 that 1 leads in epoch
// 5, unless it says otherwise.
func TestRemedy(t *testing.T) {
	for _, tt := range []struct {
		name         string
		edit         func(*partition.State)
		unregistered bool
		spoke        log.Epoch
		want         Remedy
	}{
		{"out of both sets, in an epoch after the last one that it spoke in", nil, false, 4, Begin},
		{"it has not spoken in this life", nil, false, log.NoEpoch, Begin},
		{"it has spoken in this epoch: an ack, or a proposal, may be under way", nil, false, 5, Announce},
		{"in the ISR", func(s *partition.State) { s.ISR = brokers{1, 2} }, false, 4, Announce},
		{"in the ISR, in a new life", func(s *partition.State) { s.ISR = brokers{1, 2} }, false, log.NoEpoch, Announce},
		{"in the ELR", func(s *partition.State) { s.ELR = brokers{2} }, false, 4, Announce},
		{"in LastKnownELR alone: the leader has all that counts", func(s *partition.State) { s.LastKnownELR = brokers{2} }, false, 4, Begin},
		{"it leads", func(s *partition.State) { s.Leader, s.ISR = 2, brokers{2, 3} }, false, 5, Announce},
		{"it leads alone", func(s *partition.State) { s.Leader, s.ISR = 2, brokers{2} }, false, log.NoEpoch, Announce},
		{"nobody leads: nobody may have what it has", func(s *partition.State) { s.Leader, s.ISR, s.LastKnownELR = 0, nil, brokers{2} }, false, 4, Stand},
		{"nobody leads, and it is of the ELR", func(s *partition.State) { s.Leader, s.ISR, s.ELR = 0, nil, brokers{2, 3} }, false, 4, Stand},
		{"what the table says is of an earlier life", nil, true, log.NoEpoch, Stand},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := Assignment{
				State:      &partition.State{Replicas: brokers{1, 2, 3}, ISR: brokers{1, 3}, Leader: 1, Epoch: 5},
				Registered: !tt.unregistered,
			}
			if tt.edit != nil {
				tt.edit(a.State)
			}
			require.Equal(t, tt.want, a.Remedy(2, tt.spoke))
		})
	}
}

// Each case is of broker 2 again; the last lossy election has begun epoch 4.
func TestOutdated(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  func(*Assignment)
		since log.Epoch
		want  bool
	}{
		{"of before it", nil, 3, true},
		{"made in its epoch", nil, 4, false},
		{"made after it", nil, 5, false},
		{"of before it, and a member of the ISR: it was the one that was elected", func(a *Assignment) { a.State.ISR = brokers{1, 2} }, 3, false},
		{"of before it, and of the ELR", func(a *Assignment) { a.State.ISR, a.State.ELR = brokers{1}, brokers{2} }, 3, false},
		{"there was none", func(a *Assignment) { a.State.LossyEpoch = 0 }, 0, false},
		{"nobody leads in its epoch yet", func(a *Assignment) { a.State.Epoch, a.State.Leader = 3, 0 }, 3, true},
		{"what the table says is of an earlier life", func(a *Assignment) { a.Registered = false }, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := Assignment{
				State: &partition.State{
					Replicas: brokers{1, 2, 3}, ISR: brokers{1, 3}, Leader: 1, Epoch: 5, LossyEpoch: 4,
				},
				Registered: true,
			}
			if tt.edit != nil {
				tt.edit(&a)
			}
			require.Equal(t, tt.want, a.Outdated(2, tt.since))
			require.False(t, a.Outdated(2, a.Since()), "one that is made now")
		})
	}
}

func TestCounted(t *testing.T) {
	for _, tt := range []struct {
		name      string
		isr       brokers
		behind    bool
		compacted bool
		want      bool
		since     log.Epoch
	}{
		{"one that was made anew is complete in the ISR", brokers{1, 2}, true, false, false, 3},
		{"and not in the ELR", brokers{1}, true, false, true, 3},
		{"one that a lossy election has chosen counts from it", brokers{2}, false, true, false, 4},
		{"both", brokers{2}, true, true, false, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := Assignment{State: &partition.State{ISR: tt.isr, ELR: brokers{2}, Epoch: 5, LossyEpoch: 4}}
			behind, since := a.Counted(2, tt.behind, 3, tt.compacted)
			require.Equal(t, tt.want, behind)
			require.Equal(t, tt.since, since)
			_, since = a.Counted(2, false, 5, true)
			require.Equal(t, log.Epoch(5), since)
		})
	}
}

// What a copy has said in an epoch goes on counting there after it has left the ISR:
// therefore the epoch ends with that.
func TestAnAckOutlivesTheCopyWithinItsEpoch(t *testing.T) {
	late := Fetched{From: 2, BrokerEpoch: 7, Sequence: 2, Known: true, LogEpoch: 4, LogEnd: 10,
		Partition: FetchPartition{ID: testID, Epoch: 5, Fetch: 10, LastEpoch: 4, Ack: 10, MaxBytes: 1}}
	cfg := LeaderConfig{
		ID: testID, Self: 1, SelfEpoch: 9, MinISR: 1, Synced: true, Lag: time.Second, End: 10, Flushed: 10,
		State: partition.State{Replicas: brokers{1, 2}, ISR: brokers{1, 2}, Leader: 1, Epoch: 5, PartitionEpoch: 12},
		Peers: []Peer{{ID: 2, Epoch: 7, Active: true}},
	}
	l := NewLeader(testStart, cfg)
	l.Step(testStart, Flushed{End: 10})
	left := cfg.State
	left.ISR, left.PartitionEpoch = brokers{1}, 13
	l.Step(testStart, Changed{State: left, MinISR: 1, Peers: cfg.Peers})
	out := l.Step(testStart, late)
	require.NotNil(t, out.Propose, "the copy may be gone by now")

	cfg.State = left
	cfg.State.Epoch = 6
	l = NewLeader(testStart, cfg)
	out = l.Step(testStart, late)
	require.Equal(t, partition.FencedEpoch, out.Fetch.Code)
	require.Nil(t, out.Propose)
}
