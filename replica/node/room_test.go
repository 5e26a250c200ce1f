package node

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log/logtest"
)

// Somebody else may have taken even the room that a broker keeps free. A copy that has
// caught up says so later.
func TestACopyArrivesOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		id := w.follower()
		old := w.node(id).replica(w.id)
		// The first label says that it is made anew, the second that it has arrived.
		end := w.members[id].disk.Inject(logtest.Fault{Op: logtest.Create, Name: partitionFile + "*", Nth: 2, Every: 1, Err: syscall.ENOSPC})
		w.flip(id, 2)
		w.until("another copy", func() bool { r := w.node(id).replica(w.id); return r != nil && r != old })
		w.waitISR(w.id, 3)
		time.Sleep(5 * time.Second)
		require.NoError(t, w.node(id).ctx.Err())
		require.True(t, w.node(id).replica(w.id).behind.Load())
		end()
		w.alike()
	})
}

// What is known of damage is written down as soon as there is room.
func TestDamageIsNotedWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 1)
		id := w.leader(w.id).self
		for other := range w.members {
			if other != id {
				w.a.lead(id)
				w.kill(other) // so that it cannot begin anew
			}
		}
		w.waitISR(w.id, 1)
		end := w.members[id].disk.Inject(logtest.Fault{Op: logtest.Create, Name: damageFile + "*", Every: 1, Err: syscall.ENOSPC})
		w.flip(id, 2)
		w.until("the damage", func() bool { return w.node(id).damageOf(w.id) != "" })
		time.Sleep(5 * time.Second)
		require.Empty(t, w.files(id, damageFile))
		end()
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{damageFile}, w.files(id, damageFile))
	})
}
