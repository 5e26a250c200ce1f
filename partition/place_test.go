package partition

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func brokersIn(racks ...string) []Broker {
	brokers := make([]Broker, len(racks))
	for i, rack := range racks {
		brokers[i] = Broker{ID: BrokerID(i + 1), Rack: rack}
	}
	return brokers
}

func spread(counts []int) int { return slices.Max(counts) - slices.Min(counts) }

func TestPlaceSpreadsEvenly(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for replicas := 1; replicas <= n; replicas++ {
			for partitions := range 50 {
				placed, err := Place(brokersIn(make([]string, n)...), partitions, replicas, partitions*7)
				require.NoError(t, err)
				require.Len(t, placed, partitions)
				leads, holds := make([]int, n), make([]int, n)
				for _, list := range placed {
					require.Len(t, setOf(list), replicas)
					leads[list[0]-1]++
					for _, id := range list {
						holds[id-1]++
					}
				}
				on := fmt.Sprintf("%d partitions of %d copies on %d brokers: %v, %v", partitions, replicas, n, leads, holds)
				require.LessOrEqual(t, spread(leads), 1, on)
				require.LessOrEqual(t, spread(holds), 1, on)
			}
		}
	}
}

// Whatever the racks, leaders differ by one at most, and no list could stand in
// more racks. How many copies each keeps is even too where the racks are.
func TestPlaceIsRackAwareAndEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 9).Draw(t, "racks")
		brokers := brokersIn(racks...)
		replicas := rapid.IntRange(1, len(brokers)).Draw(t, "replicas")
		present, err := Place(brokers, rapid.IntRange(0, 20).Draw(t, "present"), replicas, rapid.IntRange(0, 9).Draw(t, "start"))
		require.NoError(t, err)
		more, err := PlaceMore(brokers, present, rapid.IntRange(0, 20).Draw(t, "partitions"), replicas, rapid.IntRange(0, 9).Draw(t, "then"))
		require.NoError(t, err)
		size := make(map[string]int)
		for _, rack := range racks {
			size[rack]++
		}
		leads := make([]int, len(brokers))
		for _, list := range slices.Concat(present, more) {
			leads[list[0]-1]++
			crowd := make(map[string]int)
			for _, id := range list {
				crowd[racks[id-1]]++
			}
			require.Len(t, setOf(list), replicas)
			require.Len(t, crowd, min(len(size), replicas), "%v in %v", list, racks)
			for rack, n := range crowd {
				for other := range size {
					require.False(t, n > crowd[other]+1 && size[other] > crowd[other], "%v crowds %s and not %s: %v", list, rack, other, racks)
				}
			}
		}
		require.LessOrEqual(t, spread(leads), 1, "%v", leads)
	})
}

func TestPlaceMoreFillsUpWhatIsUneven(t *testing.T) {
	brokers := brokersIn("", "", "", "")
	present := [][]BrokerID{{1, 2}, {1, 2}, {2, 1}, {9, 1}}
	more, err := PlaceMore(brokers, present, 8, 2, 0)
	require.NoError(t, err)
	leads, holds := make([]int, 9), make([]int, 9)
	for _, list := range slices.Concat(present, more) {
		leads[list[0]-1]++
		for _, id := range list {
			holds[id-1]++
		}
	}
	require.LessOrEqual(t, spread(leads[:4]), 1, "%v", leads)
	require.LessOrEqual(t, spread(holds[:4]), 1, "%v", holds)
}

func TestPlaceLeavesOutWhoKeepsNoCopies(t *testing.T) {
	brokers := brokersIn("", "", "")
	brokers[1].VoterOnly = true
	placed, err := Place(brokers, 10, 2, 0)
	require.NoError(t, err)
	for _, list := range placed {
		require.ElementsMatch(t, ids(1, 3), list)
	}
	_, err = Place(brokers, 1, 3, 0)
	require.ErrorIs(t, err, InvalidReplicas)
	require.Equal(t, BrokerID(2), brokers[1].ID, "the caller's list stays as it was")
}

func TestPlaceSharesTheLoadOfOneThatDies(t *testing.T) {
	placed, err := Place(brokersIn("", "", "", "", "", ""), 60, 3, 0)
	require.NoError(t, err)
	for dead := BrokerID(1); dead <= 6; dead++ {
		heirs := make([]int, 6)
		for _, list := range placed {
			if list[0] == dead {
				heirs[list[1]-1]++
			}
		}
		heirs = slices.Delete(heirs, int(dead-1), int(dead))
		require.LessOrEqual(t, spread(heirs), 2, "of %d: %v", dead, heirs)
	}
}

func TestPlaceBeginsElsewhere(t *testing.T) {
	for start := range 6 {
		placed, err := Place(brokersIn("", "", ""), 1, 1, start)
		require.NoError(t, err)
		require.Equal(t, [][]BrokerID{{BrokerID(start%3 + 1)}}, placed)
	}
}

func TestPlaceUsesEveryRack(t *testing.T) {
	racks := []string{"a", "a", "b", "b", "c", "c"}
	for replicas := 1; replicas <= 6; replicas++ {
		placed, err := Place(brokersIn(racks...), 24, replicas, 1)
		require.NoError(t, err)
		holds := make([]int, 6)
		for _, list := range placed {
			crowd := map[string]int{}
			for _, id := range list {
				crowd[racks[id-1]]++
				holds[id-1]++
			}
			require.Len(t, crowd, min(3, replicas), "%v", list)
			for rack, n := range crowd {
				require.LessOrEqual(t, n, (replicas+2)/3, "rack %s of %v", rack, list)
			}
		}
		require.LessOrEqual(t, spread(holds), 1, "racks of one size: %v", holds)
	}
}

func TestPlaceTakesNoRackForOneOfItsOwn(t *testing.T) {
	placed, err := Place(brokersIn("a", "a", "", ""), 12, 3, 0)
	require.NoError(t, err)
	for _, list := range placed {
		require.False(t, slices.Contains(list, 1) && slices.Contains(list, 2), "%v", list)
	}
}

func TestPlacePutsActiveBrokersFirst(t *testing.T) {
	brokers := brokersIn("", "", "", "")
	brokers[0].Fenced, brokers[2].Stopping = true, true
	placed, err := Place(brokers, 8, 2, 0)
	require.NoError(t, err)
	for _, list := range placed {
		require.Contains(t, ids(2, 4), list[0])
	}
	for i := range brokers {
		brokers[i].Fenced = true
	}
	_, err = Place(brokers, 8, 2, 0)
	require.NoError(t, err, "fenced ones count")
}

func TestPlaceDoesNotDependOnTheOrderOfBrokers(t *testing.T) {
	brokers := brokersIn("a", "b", "a", "b", "c")
	want, err := Place(brokers, 11, 3, 4)
	require.NoError(t, err)
	slices.Reverse(brokers)
	got, err := Place(brokers, 11, 3, 4)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, BrokerID(5), brokers[0].ID, "the caller's list stays as it was")
}

func TestPlaceRefuses(t *testing.T) {
	for _, in := range []struct{ brokers, partitions, replicas, start int }{
		{2, 1, 3, 0}, {0, 1, 1, 0}, {2, 1, 0, 0}, {2, 1, -1, 0}, {2, -1, 1, 0}, {2, 1, 1, -1},
	} {
		_, err := Place(brokersIn(make([]string, in.brokers)...), in.partitions, in.replicas, in.start)
		require.ErrorIs(t, err, InvalidReplicas, "%+v", in)
	}
}
