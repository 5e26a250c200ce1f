package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A round reads each segment once: that it ends well says nothing of damage that somebody
// has met, meanwhile, where it had been already. The next round tells.
func TestARoundHealsNothingThatItHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &worn{cluster: newCluster(t, 1)}
		w.id = w.create(partition.TopicConfig{Name: "rides", SegmentBytes: 4 << 10})
		w.fill(80)
		require.NoError(t, w.stop(1)) // its memory is empty then
		w.start(1)
		w.until("its leader", func() bool { return w.leader(w.id) != nil })
		r := w.node(1).replica(w.id)
		time.Sleep(scrubDelay + 100*time.Millisecond) // in the midst of the round
		w.flip(1, 0)
		resp, _ := w.node(1).HandleRead(t.Context(), partition.ReadRequest{MaxBytes: 2000, Partitions: []partition.ReadPartition{
			{ID: w.id, Epoch: log.NoEpoch, MaxBytes: 2000}}})
		require.Equal(t, partition.CorruptBatch, resp.Partitions[0].Code)
		time.Sleep(scrubDelay)
		require.NotNil(t, r.damage.Load())

		w.flip(1, 0) // it was the reading that went wrong
		w.node(1).scrub(r, make([]byte, scrubBytes))
		w.until("the copy sound", func() bool { return r.damage.Load() == nil })
	})
}
