package node

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// small returns the files of a broker's directory, but for the segments themselves.
func (w *worn) small(id partition.BrokerID) (names []string) {
	for _, dir := range []string{"data", wornDir} {
		list, err := w.members[id].disk.ReadDir(dir)
		require.NoError(w.t, err)
		for _, name := range list {
			name = filepath.Join(dir, name)
			if name != wornDir && !strings.HasSuffix(name, ".log") {
				names = append(names, name)
			}
		}
	}
	return names
}

func (w *worn) size(id partition.BrokerID, name string) int64 {
	f, err := w.members[id].disk.Open(name)
	require.NoError(w.t, err)
	size, err := f.Size()
	require.NoError(w.t, err)
	require.NoError(w.t, f.Close())
	return size
}

// readsAs demands that a broker's copy gives from each batch on what the leader's gives.
func (w *worn) readsAs(id partition.BrokerID) {
	led, own := w.leader(w.id).replica(w.id).log, w.node(id).replica(w.id).log
	require.Equal(w.t, led.Start(), own.Start())
	require.Equal(w.t, led.End(), own.End())
	for at := led.Start(); at < led.End(); at += 3 {
		want, err := led.Read(at, led.End(), 1)
		require.NoError(w.t, err)
		got, err := own.Read(at, own.End(), 1)
		require.NoError(w.t, err)
		require.Equal(w.t, log.Batch(want).First(), at)
		require.Equal(w.t, want, got)
	}
}

// Each file of a broker beside its segments has a bit flipped while the broker is down,
// here and there in it. Either it does not start, and says which file is bad; or it comes
// back, is in the ISR again, and has what the others have.
func TestABitOfEachSmallFileMayFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		refused, passed := map[string]bool{}, map[string]bool{}
		down := map[bool]func(partition.BrokerID){
			false: w.kill,
			true:  func(id partition.BrokerID) { require.NoError(t, w.stop(id)) },
		}
		for _, clean := range []bool{true, false} {
			id := w.follower()
			down[clean](id)
			for _, name := range w.small(id) {
				const places = 5
				size := w.size(id, name)
				for at := int64(0); at < size; at += max(size/places, 1) {
					require.NoError(t, w.members[id].disk.FlipBit(name, at, uint(at)))
					n, err := Open(w.config(id))
					if err != nil {
						require.ErrorContains(t, err, filepath.Base(name))
						refused[filepath.Base(name)] = true
						require.NoError(t, w.members[id].disk.FlipBit(name, at, uint(at)))
						n, err = Open(w.config(id))
						require.NoError(t, err)
					} else {
						passed[filepath.Base(name)] = true
					}
					w.run(id, n)
					w.ready(id)
					w.fill(1)
					w.waitISR(w.id, 3)
					w.until("the copy holds all", func() bool {
						r := n.replica(w.id)
						return r != nil && r.log.End() == log.Offset(w.sent) && !r.behind.Load()
					})
					w.readsAs(id)
					down[clean](id)
				}
			}
			w.start(id)
			w.ready(id)
			w.waitISR(w.id, 3)
		}
		require.Equal(t, map[string]bool{brokerFile: true, livesFile: true}, refused, "whose directory it is nobody can guess")
		require.Subset(t, passed, map[string]bool{cleanFile: true, copiesFile: true, wholeFile: true, partitionFile: true, "flushed": true})
	})
}
