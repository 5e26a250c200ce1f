package linear

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// What is done to a history that is right, so that it is wrong.
var plants = []struct {
	name  string
	plant func(history []porcupine.Operation)
}{
	{"a read has another value", func(h []porcupine.Operation) {
		i := slices.IndexFunc(h, isRead)
		out := h[i].Output.(result)
		out.value++ // of another append
		h[i].Output = out
	}},
	{"an acknowledgement names the next offset", func(h []porcupine.Operation) {
		i := slices.IndexFunc(h, isAcked)
		out := h[i].Output.(result)
		out.offset++
		h[i].Output = out
	}},
	{"an acknowledged append had failed", func(h []porcupine.Operation) {
		i := slices.IndexFunc(h, isAcked)
		h[i].Output = result{outcome: failed}
	}},
	{"the last read of all was before the first append", func(h []porcupine.Operation) {
		last := &h[len(h)-1]
		last.Call, last.Return = -2, -1
	}},
	{"two acknowledgements have changed places", func(h []porcupine.Operation) {
		i := slices.IndexFunc(h, isAcked)
		j := slices.IndexFunc(h, func(op porcupine.Operation) bool {
			return isAcked(op) && op.Call > h[i].Return && op.Input.(operation).partition == h[i].Input.(operation).partition
		})
		h[i].Output, h[j].Output = h[j].Output, h[i].Output
	}},
}

func isRead(op porcupine.Operation) bool { return op.Input.(operation).read }

func isAcked(op porcupine.Operation) bool { return !isRead(op) && op.Output.(result).outcome == ok }

func TestPlantedViolationsAreRejected(t *testing.T) {
	var history []porcupine.Operation
	synctest.Test(t, func(t *testing.T) { history = run(t, 1) })
	require.Equal(t, porcupine.Ok, check(history))
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			h := slices.Clone(history)
			p.plant(h)
			require.Equal(t, porcupine.Illegal, check(h))
		})
	}
}

// Disks that say that they have synced and have not are beyond what a broker can
// bear: what it acknowledged is lost when the power fails, and that is seen.
func TestLossOnDisksThatLieIsRejected(t *testing.T) {
	var history []porcupine.Operation
	synctest.Test(t, func(t *testing.T) {
		cluster := start(t)
		r := new(recorder)
		r.load(t, cluster, 1).Wait()
		for _, id := range cluster.Brokers() {
			cluster.Disk(id).Lie("")
		}
		r.load(t, cluster, 2).Wait()
		require.NoError(t, cluster.PowerFailAll())
		for _, id := range cluster.Brokers() {
			require.NoError(t, cluster.Restart(t.Context(), id))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, cluster.WaitISR(ctx, topic, 3))
		r.load(t, cluster, 3).Wait()
		r.final(t, cluster.Client())
		history = r.history
	})
	require.Equal(t, porcupine.Illegal, check(history))
}
