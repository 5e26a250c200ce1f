package log_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// What no log is open for tells a failed sync from other errors too, a full disk's among
// them: whoever tries again would take for durable what is not.
func TestASyncThatFailsIsToldEverywhere(t *testing.T) {
	damaged := func(t *testing.T) *logtest.Disk {
		d, _ := closedLog(t)
		require.NoError(t, d.FlipBit("d/"+files(t, d, ".log")[1], 200, 3))
		return d
	}
	for name, call := range map[string]struct {
		disk func(t *testing.T) *logtest.Disk
		do   func(d *logtest.Disk) error
	}{
		"WriteFile": {damaged, func(d *logtest.Disk) error { return log.WriteFile(d, "d/x", 1, 1, []byte("x")) }},
		"MakeDir":   {damaged, func(d *logtest.Disk) error { return log.MakeDir(d, "d/x/y") }},
		"SetAside":  {damaged, func(d *logtest.Disk) error { return log.SetAside(d, "d") }},
		"Repair": {damaged, func(d *logtest.Disk) error {
			_, err := log.Repair(d, "d", smallSegments)
			return err
		}},
		"DropAside": {func(t *testing.T) *logtest.Disk {
			d := damaged(t)
			require.NoError(t, log.SetAside(d, "d"))
			return d
		}, func(d *logtest.Disk) error {
			_, err := log.DropAside(d, "d")
			return err
		}},
		"Reported": {func(t *testing.T) *logtest.Disk {
			d := damaged(t)
			_, err := log.Repair(d, "d", smallSegments)
			require.NoError(t, err)
			return d
		}, func(d *logtest.Disk) error {
			l, _, err := log.Open(d, "d", smallSegments)
			if err != nil {
				return err
			}
			return errors.Join(l.Reported(), l.Close())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				d := call.disk(t)
				d.FailNth(logtest.Sync|logtest.SyncDir, n, syscall.ENOSPC)
				err := call.do(d)
				if err == nil {
					require.Greater(t, n, 1)
					return
				}
				require.ErrorIs(t, err, log.ErrFailed, "sync %d", n)
				require.ErrorIs(t, err, syscall.ENOSPC, "sync %d", n)
			}
		})
	}
}
