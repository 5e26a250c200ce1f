package log

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A removing disk calls a function before it removes a seal.
type removing struct {
	FS
	before func()
}

func (r *removing) Remove(name string) error {
	if r.before != nil && strings.HasSuffix(name, sealSuffix) {
		r.before()
	}
	return r.FS.Remove(name)
}

// A reader may have asked for the size of a segment before a cut began, and load its
// index when the seal of before is still there.
func TestAnIndexOfBeforeACutIsNotKept(t *testing.T) {
	d := &removing{FS: NewMemFS()}
	cfg := Config{SegmentBytes: 2000, IndexInterval: 100}
	l, _, err := Open(d, "d", cfg)
	require.NoError(t, err)
	for i := range int64(40) {
		var b Builder
		b.Append(1000+i, nil, []byte(strings.Repeat("x", 50)), nil)
		_, err := l.Append(0, b.Build())
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	l, _, err = Open(d, "d", cfg)
	require.NoError(t, err)
	s := l.state.segments[0]
	l.mu.Lock()
	s.pin()
	l.mu.Unlock()
	file, size, err := l.open(s)
	require.NoError(t, err)
	called := false
	d.before = func() {
		called = true
		_, _, err := l.loadIndex(s, file, size)
		require.NoError(t, err)
	}
	require.NoError(t, l.Truncate(5))
	require.True(t, called)
	l.done(s)
	for _, e := range s.index.entries {
		require.Less(t, e.offset, int32(5))
	}
	for _, e := range s.index.times {
		require.Less(t, e.offset, int32(5))
	}
	require.EqualValues(t, 1004, s.digest.maxTime)
	require.NoError(t, l.Close())
}
