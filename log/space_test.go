package log_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A roomy disk says how much room it has.
type roomy struct {
	log.FS
	room  int64
	asked int
	err   error
}

func (r *roomy) Room(string) (int64, error) { r.asked++; return r.room, r.err }

func TestAppendsAreRefusedBeforeTheReserveIsTouched(t *testing.T) {
	d := &roomy{FS: log.NewMemFS(), room: 10_000}
	space := log.NewSpace(d, "d", 5_000)
	l := open(t, d, "d", log.Config{Space: space})
	other := open(t, d, "e", log.Config{Space: space})
	b := batchOf("a value")
	for range 30 { // of about 80 bytes: less than the 5,000 that may be used
		_, err := l.Append(0, b)
		require.NoError(t, err)
		d.room -= int64(len(b))
	}
	require.Less(t, d.asked, 8, "half of what is left is used without asking")

	d.room = 5_050
	for range 30 { // what it still thinks it has
		if _, err := other.Append(0, b); err != nil {
			break
		}
	}
	_, err := l.Append(0, b)
	require.ErrorIs(t, err, log.ErrFull)
	require.ErrorIs(t, err, syscall.ENOSPC)
	full, ok := errors.AsType[*log.FullError](err)
	require.True(t, ok)
	require.Equal(t, int64(5_050), full.Room)
	end := l.End()
	_, err = l.Replicate(placed(b, end, 0))
	require.ErrorIs(t, err, log.ErrFull)
	require.Equal(t, end, l.End())
	_, err = l.Flush()
	require.NoError(t, err, "what is there can be made safe")
	require.NoError(t, l.DeleteBefore(10), "and removed")

	d.room = 20_000
	appendTo(t, l, 0, "there is room again")
	broken := errors.New("broken")
	d.room, d.err = 0, broken
	for range 1000 {
		if _, err = l.Append(0, b); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, broken)
}

func placed(b log.Batch, first log.Offset, epoch log.Epoch) log.Batch {
	c := append(log.Batch(nil), b...)
	c.Place(first, epoch)
	return c
}

func TestTheRealDiskTellsItsRoom(t *testing.T) {
	r, ok := log.OS().(log.Roomer)
	if !ok {
		t.Skip("not on this system")
	}
	room, err := r.Room(t.TempDir())
	require.NoError(t, err)
	require.Positive(t, room)
	_, err = r.Room("/does not exist")
	require.Error(t, err)
}

func TestNoRoomIsNoFailure(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	require.NoError(t, disk.MkdirAll("d"))
	disk.FailNth(logtest.Sync, 1, syscall.ENOSPC)
	failed := log.WriteFile(disk, "d/f", 1, 1, nil)
	disk.Limit(0)
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{log.WriteFile(disk, "d/f", 1, 1, nil), true},
		{&log.FullError{}, true},
		{fmt.Errorf("write: %w", syscall.EDQUOT), true},
		{failed, false}, // who knows what a sync has written
		{syscall.EIO, false},
		{nil, false},
	} {
		require.Equal(t, tt.want, log.NoRoom(tt.err), "%v", tt.err)
	}
}
