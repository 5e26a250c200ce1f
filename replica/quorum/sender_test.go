package quorum

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A voter moves from address to address. Whoever sent to the old ones stops, and with it
// the goroutine that it took.
func TestNobodyIsLeftAtAddressesThatPeersHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		leader := m.leading(1, 2, 3)
		voters := slices.Clone(m.voters)
		moves := leader%3 + 1
		m.propose(leader, "a")
		for i := range 6 {
			addr := fmt.Sprint("moved-", i)
			require.NoError(t, m.stop(moves))
			m.voters = slices.Clone(voters)
			m.voters[moves-1].Addr = addr // the others hear of it from the voter itself
			m.start(moves)
			m.net.join(addr, m.rooms[moves].q)
			leader = m.leading(1, 2, 3)
			m.propose(leader, fmt.Sprint(i))
			m.history(moves, i+2)
		}
		require.NotEqual(t, moves, leader)
		require.Greater(t, m.senders(leader), 6)
		time.Sleep(2 * time.Minute)
		m.propose(leader, "after")
		m.history(moves, 8)
		require.LessOrEqual(t, m.senders(leader), 2, "one a peer")
		m.voters = voters
		m.stopAll(1, 2, 3)
	})
}

// senders returns how many there were when a voter applied the newest entry.
func (m *machineRoom) senders(id partition.BrokerID) int {
	r := m.rooms[id]
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.senders
}
