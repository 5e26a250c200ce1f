package partition

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func ids(list ...BrokerID) []BrokerID { return list }

func anyOf(list ...BrokerID) func(BrokerID) bool {
	return func(id BrokerID) bool {
		for _, one := range list {
			if one == id {
				return true
			}
		}
		return false
	}
}

// Each case starts from replicas 1 2 3, all in the ISR and led by 1 in epoch 5,
// partition epoch 20, unless it says otherwise.
func TestStateChange(t *testing.T) {
	whole := State{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1, Epoch: 5, PartitionEpoch: 20}
	with := func(edit func(*State)) State {
		s := whole
		s.PartitionEpoch++
		edit(&s)
		return s
	}
	from := func(edit func(*State)) State {
		s := with(edit)
		s.PartitionEpoch--
		return s
	}
	tests := []struct {
		name  string
		from  State
		in    Change
		want  State
		added []BrokerID
	}{{
		name: "a follower that leaves takes nothing with it while MinISR is met",
		from: whole,
		in:   Change{ISR: ids(1, 2), MinISR: 2, Active: anyOf(1, 2, 3)},
		want: with(func(s *State) { s.ISR = ids(1, 2) }),
	}, {
		name: "who leaves below MinISR enters the ELR",
		from: from(func(s *State) { s.ISR = ids(1, 2) }),
		in:   Change{ISR: ids(1), MinISR: 2, Active: anyOf(1)},
		want: with(func(s *State) { s.ISR, s.ELR = ids(1), ids(2) }),
	}, {
		name: "a suspect goes to LastKnownELR instead",
		from: from(func(s *State) { s.ISR = ids(1, 2) }),
		in:   Change{ISR: ids(1), MinISR: 2, Active: anyOf(1), Suspect: ids(2)},
		want: with(func(s *State) { s.ISR, s.LastKnownELR = ids(1), ids(2) }),
	}, {
		name: "the leader that is fenced is replaced by the first active member in replica order",
		from: from(func(s *State) { s.Replicas = ids(1, 3, 2) }),
		in:   Change{ISR: ids(2, 3), MinISR: 2, Active: anyOf(2, 3)},
		want: with(func(s *State) {
			s.Replicas, s.ISR, s.Leader, s.Epoch = ids(1, 3, 2), ids(2, 3), 3, 6
		}),
		added: ids(3),
	}, {
		name: "a leader stays though another one is preferred",
		from: from(func(s *State) { s.Leader = 2 }),
		in:   Change{ISR: ids(1, 2), MinISR: 2, Active: anyOf(1, 2)},
		want: with(func(s *State) { s.ISR, s.Leader = ids(1, 2), 2 }),
	}, {
		name: "a member of the ISR that is not active is passed over",
		from: whole,
		in:   Change{ISR: ids(2, 3), MinISR: 2, Active: anyOf(3)},
		want: with(func(s *State) { s.ISR, s.Leader, s.Epoch = ids(2, 3), 3, 6 }),
		// It was in the ISR before, but is elected.
		added: ids(3),
	}, {
		name: "the ELR is not asked while somebody is in the ISR",
		from: from(func(s *State) { s.ISR, s.ELR = ids(1), ids(2) }),
		in:   Change{ISR: ids(1), MinISR: 2, Active: anyOf(2, 3)},
		want: with(func(s *State) { s.ISR, s.ELR, s.Leader, s.Epoch = ids(1), ids(2), NoBroker, 6 }),
	}, {
		name: "the last member of the ISR leaves into the ELR and nobody leads",
		from: from(func(s *State) { s.ISR, s.ELR = ids(1), ids(2) }),
		in:   Change{ISR: nil, MinISR: 2, Active: anyOf(3)},
		want: with(func(s *State) { s.ISR, s.ELR, s.Leader, s.Epoch = nil, ids(1, 2), NoBroker, 6 }),
	}, {
		name:  "with an empty ISR the first active member of the ELR is elected and makes up the ISR",
		from:  from(func(s *State) { s.ISR, s.ELR, s.Leader = nil, ids(1, 2), NoBroker }),
		in:    Change{MinISR: 2, Active: anyOf(2, 3)},
		want:  with(func(s *State) { s.ISR, s.ELR, s.Leader, s.Epoch = ids(2), ids(1), 2, 6 }),
		added: ids(2),
	}, {
		name:  "election from the ELR empties it when one copy is enough to commit",
		from:  from(func(s *State) { s.ISR, s.ELR, s.Leader = nil, ids(1, 2), NoBroker }),
		in:    Change{MinISR: 1, Active: anyOf(2)},
		want:  with(func(s *State) { s.ISR, s.Leader, s.Epoch = ids(2), 2, 6 }),
		added: ids(2),
	}, {
		name: "a replica of LastKnownELR is never elected by itself",
		from: from(func(s *State) { s.ISR, s.LastKnownELR, s.Leader = nil, ids(1, 2), NoBroker }),
		in:   Change{MinISR: 2, Active: anyOf(1, 2, 3)},
		want: with(func(s *State) { s.ISR, s.LastKnownELR, s.Leader = nil, ids(1, 2), NoBroker }),
	}, {
		name:  "a balanced election voids what was known",
		from:  from(func(s *State) { s.ISR, s.LastKnownELR, s.Leader = nil, ids(1, 2), NoBroker }),
		in:    Change{ISR: ids(2), MinISR: 2, Active: anyOf(1, 2, 3), Balanced: true},
		want:  with(func(s *State) { s.ISR, s.Leader, s.Epoch, s.LossyEpoch = ids(2), 2, 6, 6 }),
		added: ids(2),
	}, {
		name:  "a member that joins is reported and the ELR is void once MinISR is met",
		from:  from(func(s *State) { s.ISR, s.ELR, s.LastKnownELR = ids(1), ids(2), ids(3) }),
		in:    Change{ISR: ids(3, 1), MinISR: 2, Active: anyOf(1, 3)},
		want:  with(func(s *State) { s.ISR = ids(1, 3) }),
		added: ids(3),
	}, {
		name:  "a member that joins below MinISR leaves the others in the ELR",
		from:  from(func(s *State) { s.ISR, s.ELR = ids(1), ids(2) }),
		in:    Change{ISR: ids(1, 3), MinISR: 3, Active: anyOf(1, 3)},
		want:  with(func(s *State) { s.ISR, s.ELR = ids(1, 3), ids(2) }),
		added: ids(3),
	}, {
		name: "MinISR counts as the number of replicas if it is more",
		from: from(func(s *State) { s.Replicas, s.ISR = ids(1, 2), ids(1) }),
		in:   Change{ISR: ids(1, 2), MinISR: 3, Active: anyOf(1, 2)},
		want: with(func(s *State) {
			s.Replicas, s.ISR = ids(1, 2), ids(1, 2)
		}),
		added: ids(2),
	}, {
		name: "MinISR of nothing counts as one",
		from: from(func(s *State) { s.ISR = ids(1) }),
		in:   Change{ISR: nil, MinISR: 0},
		want: with(func(s *State) { s.ISR, s.ELR, s.Leader, s.Epoch = nil, ids(1), NoBroker, 6 }),
	}, {
		name: "who discards its copy leaves, in a new epoch of the same leader",
		from: whole,
		in:   Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Discard: ids(3)},
		want: with(func(s *State) { s.ISR, s.Epoch = ids(1, 2), 6 }),
	}, {
		name: "who discards its copy is not complete, below MinISR either",
		from: from(func(s *State) { s.ISR, s.ELR = ids(1, 2), nil }),
		in:   Change{ISR: ids(1, 2), MinISR: 2, Active: anyOf(1, 2), Discard: ids(2)},
		want: with(func(s *State) { s.ISR, s.LastKnownELR, s.Epoch = ids(1), ids(2), 6 }),
	}, {
		name: "who discards its copy leaves the ELR too",
		from: from(func(s *State) { s.ISR, s.ELR = ids(1), ids(2, 3) }),
		in:   Change{ISR: ids(1), MinISR: 2, Active: anyOf(1, 2, 3), Discard: ids(3)},
		want: with(func(s *State) { s.ISR, s.ELR, s.LastKnownELR, s.Epoch = ids(1), ids(2), ids(3), 6 }),
	}, {
		name: "the epoch rises also if who discards its copy stands nowhere",
		from: from(func(s *State) { s.ISR = ids(1, 2) }),
		in:   Change{ISR: ids(1, 2), MinISR: 2, Active: anyOf(1, 2, 3), Discard: ids(3)},
		want: with(func(s *State) { s.ISR, s.Epoch = ids(1, 2), 6 }),
	}, {
		name:  "a leader that discards its copy is followed by another member",
		from:  whole,
		in:    Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Discard: ids(1)},
		want:  with(func(s *State) { s.ISR, s.Leader, s.Epoch = ids(2, 3), 2, 6 }),
		added: ids(2),
	}, {
		name:  "or by one of the ELR",
		from:  from(func(s *State) { s.ISR, s.ELR = ids(1), ids(2, 3) }),
		in:    Change{ISR: ids(1), MinISR: 2, Active: anyOf(1, 3), Discard: ids(1)},
		want:  with(func(s *State) { s.ISR, s.ELR, s.LastKnownELR, s.Leader, s.Epoch = ids(3), ids(2), ids(1), 3, 6 }),
		added: ids(3),
	}, {
		name: "strangers do not get into the ISR",
		from: whole,
		in:   Change{ISR: ids(9, 1, 2, 2), MinISR: 2, Active: anyOf(1, 2, 9)},
		want: with(func(s *State) { s.ISR = ids(1, 2) }),
	}, {
		name: "new replicas change nothing else",
		from: from(func(s *State) { s.Replicas, s.ISR = ids(1), ids(1) }),
		in:   Change{ISR: ids(1), MinISR: 1, Active: anyOf(1, 2), Replicas: ids(1, 2)},
		want: with(func(s *State) { s.Replicas, s.ISR = ids(1, 2), ids(1) }),
	}, {
		name: "dropping a replica raises the epoch though the leader stays",
		from: from(func(s *State) { s.ISR, s.ELR, s.LastKnownELR = ids(1), ids(2), ids(3) }),
		in:   Change{ISR: ids(1), MinISR: 3, Active: anyOf(1, 2), Replicas: ids(1, 2)},
		want: with(func(s *State) { s.Replicas, s.ISR, s.ELR, s.Epoch = ids(1, 2), ids(1), ids(2), 6 }),
	}, {
		name: "nobody is active if nobody says so",
		from: whole,
		in:   Change{ISR: ids(1, 2, 3), MinISR: 2},
		want: with(func(s *State) { s.Leader, s.Epoch = NoBroker, 6 }),
	}, {
		name:  "the preferred one leads if it may",
		from:  whole,
		in:    Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Prefer: 3},
		want:  with(func(s *State) { s.Leader, s.Epoch = 3, 6 }),
		added: ids(3),
	}, {
		name: "the preferred one does not lead outside the ISR, nor while it is inactive",
		from: from(func(s *State) { s.ISR = ids(1, 2) }),
		in:   Change{ISR: ids(1, 2), MinISR: 2, Active: anyOf(1, 3), Prefer: 3},
		want: with(func(s *State) { s.ISR = ids(1, 2) }),
	}, {
		name: "a reassignment that adds begins with all of them, the new order first",
		from: whole,
		in:   Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Target: ids(4, 2, 5)},
		want: with(func(s *State) { s.Replicas, s.Origin, s.Target = ids(4, 2, 5, 1, 3), ids(1, 2, 3), ids(4, 2, 5) }),
	}, {
		name: "one of two that it adds completes nothing",
		from: from(func(s *State) { s.Replicas, s.Origin, s.Target = ids(4, 2, 5, 1, 3), ids(1, 2, 3), ids(4, 2, 5) }),
		in:   Change{ISR: ids(1, 2, 3, 4), MinISR: 2, Active: anyOf(1, 2, 3, 4)},
		want: with(func(s *State) {
			s.Replicas, s.Origin, s.Target, s.ISR = ids(4, 2, 5, 1, 3), ids(1, 2, 3), ids(4, 2, 5), ids(1, 2, 3, 4)
		}),
		added: ids(4),
	}, {
		name: "the last one completes it: those that go leave, another is elected, the epoch rises",
		from: from(func(s *State) {
			s.Replicas, s.Origin, s.Target, s.ISR = ids(4, 2, 5, 1, 3), ids(1, 2, 3), ids(4, 2, 5), ids(1, 2, 3, 4)
		}),
		in:    Change{ISR: ids(1, 2, 3, 4, 5), MinISR: 2, Active: anyOf(1, 2, 3, 4, 5)},
		want:  with(func(s *State) { s.Replicas, s.ISR, s.Leader, s.Epoch = ids(4, 2, 5), ids(2, 4, 5), 4, 6 }),
		added: ids(4, 5),
	}, {
		name: "the epoch rises too if the leader stays",
		from: from(func(s *State) { s.Replicas, s.Origin, s.Target = ids(1, 2, 4, 3), ids(1, 2, 3), ids(1, 2, 4) }),
		in:   Change{ISR: ids(1, 2, 4), MinISR: 2, Active: anyOf(1, 2, 4)},
		want: with(func(s *State) { s.Replicas, s.ISR, s.Epoch = ids(1, 2, 4), ids(1, 2, 4), 6 }), added: ids(4),
	}, {
		name: "a reassignment that adds nobody is complete at once",
		from: whole,
		in:   Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Target: ids(3, 2)},
		want: with(func(s *State) { s.Replicas, s.ISR, s.Leader, s.Epoch = ids(3, 2), ids(2, 3), 3, 6 }), added: ids(3),
	}, {
		name: "another order alone keeps leader and epoch",
		from: whole,
		in:   Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Target: ids(3, 2, 1)},
		want: with(func(s *State) { s.Replicas = ids(3, 2, 1) }),
	}, {
		name: "it waits until enough of those that stay are in sync",
		from: from(func(s *State) { s.ISR = ids(1, 2) }),
		in:   Change{ISR: ids(1, 2), MinISR: 2, Active: anyOf(1, 2, 3), Target: ids(2, 3)},
		want: with(func(s *State) {
			s.Replicas, s.Origin, s.Target, s.ISR = ids(2, 3, 1), ids(1, 2, 3), ids(2, 3), ids(1, 2)
		}),
	}, {
		name: "who goes leaves the ELR too",
		from: from(func(s *State) {
			s.Replicas, s.Origin, s.Target, s.ISR, s.ELR = ids(1, 4, 2, 3), ids(1, 2, 3), ids(1, 4), ids(1), ids(2)
			s.LastKnownELR = ids(3)
		}),
		in:   Change{ISR: ids(1, 4), MinISR: 2, Active: anyOf(1, 4)},
		want: with(func(s *State) { s.Replicas, s.ISR, s.Epoch = ids(1, 4), ids(1, 4), 6 }), added: ids(4),
	}, {
		name: "a second reassignment replaces the first, whose additions go",
		from: from(func(s *State) { s.Replicas, s.Origin, s.Target = ids(4, 1, 2, 3), ids(1, 2, 3), ids(4) }),
		in:   Change{ISR: ids(1, 2, 3), MinISR: 1, Active: anyOf(1, 2, 3), Target: ids(1, 5)},
		want: with(func(s *State) { s.Replicas, s.Origin, s.Target = ids(1, 5, 4, 2, 3), ids(1, 2, 3), ids(1, 5) }),
	}, {
		name: "back to where it came from is a cancel",
		from: from(func(s *State) { s.Replicas, s.Origin, s.Target = ids(4, 1, 2, 3), ids(1, 2, 3), ids(4) }),
		in:   Change{ISR: ids(1, 2, 3), MinISR: 2, Active: anyOf(1, 2, 3), Target: ids(1, 2, 3)},
		want: with(func(s *State) { s.Epoch = 6 }),
	}, {
		name: "an unclean election voids what was known and says so",
		from: from(func(s *State) { s.ISR, s.ELR, s.LastKnownELR, s.Leader = nil, ids(1), ids(2), NoBroker }),
		in:   Change{ISR: ids(3), MinISR: 2, Active: anyOf(3), Unclean: true},
		want: with(func(s *State) {
			s.ISR, s.Leader, s.Epoch, s.Recovering, s.LossyEpoch = ids(3), 3, 6, true, 6
		}), added: ids(3),
	}, {
		name: "where nobody leads yet after an unclean election its epoch is the next one",
		from: from(func(s *State) { s.ISR, s.LastKnownELR, s.Leader = nil, ids(2), NoBroker }),
		in:   Change{ISR: ids(3), MinISR: 2, Unclean: true},
		want: with(func(s *State) { s.ISR, s.Leader, s.Recovering, s.LossyEpoch = ids(3), NoBroker, true, 6 }), added: ids(3),
	}, {
		name: "a clean election after a lossy one leaves its epoch alone",
		from: from(func(s *State) { s.LossyEpoch = 3 }),
		in:   Change{ISR: ids(2, 3), MinISR: 2, Active: anyOf(2, 3)},
		want: with(func(s *State) { s.ISR, s.Leader, s.Epoch, s.LossyEpoch = ids(2, 3), 2, 6, 3 }), added: ids(2),
	}, {
		name: "a leader that is lost before it has reported is still recovering",
		from: from(func(s *State) { s.ISR, s.Leader, s.Recovering = ids(3), 3, true }),
		in:   Change{MinISR: 2, Active: anyOf(1)},
		want: with(func(s *State) { s.ISR, s.ELR, s.Leader, s.Epoch, s.Recovering = nil, ids(3), NoBroker, 6, true }),
	}, {
		name: "a leader that has reported may take others into the ISR",
		from: from(func(s *State) { s.ISR, s.Leader, s.Recovering = ids(3), 3, true }),
		in:   Change{ISR: ids(2, 3), MinISR: 2, Active: anyOf(2, 3), Recovered: true},
		want: with(func(s *State) { s.ISR, s.Leader = ids(2, 3), 3 }), added: ids(2),
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.from
			require.NoError(t, before.Validate())
			got, added := tt.from.Change(tt.in)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.added, added)
			require.NoError(t, got.Validate())
			require.Equal(t, before, tt.from, "a state is a value")
			require.True(t, got.follows(tt.from))
		})
	}
}

func TestStateValidate(t *testing.T) {
	good := State{Replicas: ids(3, 1, 2), ISR: ids(1), ELR: ids(2), LastKnownELR: ids(3), Leader: 1}
	require.NoError(t, good.Validate())
	tests := []struct {
		name string
		edit func(*State)
		want string
	}{
		{"no replicas", func(s *State) { s.Replicas = nil }, "Replicas is empty"},
		{"a replica twice", func(s *State) { s.Replicas = ids(1, 2, 3, 1) }, "Replicas has 1 twice"},
		{"a replica that is no broker", func(s *State) { s.Replicas = ids(1, 2, 3, 0) }, "Replicas has 0, which is no broker's id"},
		{"an ISR out of order", func(s *State) { s.ISR, s.ELR = ids(2, 1), nil }, "ISR does not rise at 1"},
		{"a member twice", func(s *State) { s.ISR = ids(1, 1) }, "ISR does not rise at 1"},
		{"a stranger", func(s *State) { s.ELR = ids(2, 4) }, "ELR has 4, which is no replica"},
		{"a member of two sets", func(s *State) { s.LastKnownELR = ids(2, 3) }, "2 is in ELR and in LastKnownELR"},
		{"a leader outside the ISR", func(s *State) { s.Leader = 2 }, "Leader 2 is not in the ISR"},
		{"an epoch below zero", func(s *State) { s.Epoch = -1 }, "Epoch is -1"},
		{"a partition epoch below zero", func(s *State) { s.PartitionEpoch = -1 }, "PartitionEpoch is -1"},
		{"a target without an origin", func(s *State) { s.Target = ids(1) }, "not those of a reassignment"},
		{"a target that is no replica", func(s *State) { s.Origin, s.Target = ids(1, 2, 3), ids(1, 4) }, "not those of a reassignment"},
		{"a target with one twice", func(s *State) { s.Origin, s.Target = ids(1, 2, 3), ids(1, 1) }, "not those of a reassignment"},
		{"a lossy epoch below zero", func(s *State) { s.LossyEpoch = -1 }, "LossyEpoch is -1"},
		{"a lossy epoch that is to come", func(s *State) { s.LossyEpoch = 2 }, "LossyEpoch is 2, Epoch 0"},
		{"others in sync while recovering", func(s *State) { s.ISR, s.ELR, s.Recovering = ids(1, 2), nil, true }, "ISR has 2 members while Recovering"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := good
			tt.edit(&bad)
			require.ErrorContains(t, bad.Validate(), tt.want)
		})
	}
}
