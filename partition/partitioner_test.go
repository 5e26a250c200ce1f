package partition

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestByKey(t *testing.T) {
	_, ok := ByKey.Partition(nil, 6)
	require.False(t, ok, "no key, no opinion")
	_, ok = ByKey.Partition([]byte("k"), 0)
	require.False(t, ok)

	// xxhash64 of the empty input is ef46db3751d8e999, of "a" d24ec4f1a98c6e5b.
	p, ok := ByKey.Partition([]byte{}, 7)
	require.True(t, ok, "an empty key is one")
	require.Equal(t, PartitionID(0xef46db3751d8e999%7), p)
	p, ok = ByKey.Partition([]byte("a"), 1000)
	require.True(t, ok)
	require.Equal(t, PartitionID(0xd24ec4f1a98c6e5b%1000), p)
}

func TestManualIsKnownByItsIdentity(t *testing.T) {
	chosen := Manual
	require.True(t, chosen == Manual)
	require.False(t, ByKey == Manual)
	_, ok := chosen.Partition([]byte("k"), 6)
	require.False(t, ok)
}

func BenchmarkByKey(b *testing.B) {
	key := []byte("downtown-east-17")
	b.ReportAllocs()
	for b.Loop() {
		ByKey.Partition(key, 6)
	}
}
