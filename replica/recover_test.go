package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

// After an unclean election the leader's first proposal reports it, even if nobody is
// to join (A.9); until then time alone calls for it.
func TestRecoveringLeaderReports(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) {
		c.State = leaderState(12, brokers{1}, nil)
		c.State.Recovering, c.MinISR = true, 1
	})
	require.True(t, l.NeedsTick())
	report := proposed(12, partition.Member{ID: 1, Epoch: 9})
	report.Recovered = true
	require.Equal(t, report, run(t, l, Tick{}).Propose)
	require.False(t, l.NeedsTick(), "it is under way")
	require.Equal(t, report, run(t, l, AlterLost{}, Tick{}).Propose, "no answer came")
	require.Nil(t, run(t, l, Altered{PartitionEpoch: 12, State: leaderState(13, brokers{1}, nil)}, Tick{}).Propose)
	require.False(t, l.NeedsTick())
}
