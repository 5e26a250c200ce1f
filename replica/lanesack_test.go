package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAcksThatComeMeanwhileGoTogether(t *testing.T) {
	x := newLaneRig(t, 1, 2, 3)
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], false))
	r := x.begin(Beside)
	require.Equal(t, []int{1}, namedIn(r))
	require.Equal(t, FetchRequest{From: 2, BrokerEpoch: 7, Sequence: 1, Partitions: r.Request.Partitions}, r.Request)
	require.Zero(t, x.l.Ack(x.members[2], false))
	require.Zero(t, x.l.Ack(x.members[3], false))
	require.Zero(t, x.l.Ack(x.members[2], false))
	told, do := x.answer(r, 1)
	require.Empty(t, told, "nobody is handed an answer to an ack")
	require.Zero(t, do)
	require.Equal(t, []int{2, 3}, x.turn(Beside), "each once")
	require.Nil(t, x.begin(Beside))
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], false))
}

// Who is not registered says nothing yet, and under the next broker epoch names all anew.
func TestAnAckThatIsNotSaid(t *testing.T) {
	x := newLaneRig(t, 1, 2)
	x.cool()
	x.l.Ack(x.members[1], false)
	x.epoch = 0
	r := x.begin(Beside)
	require.True(t, r.Idle)
	wait, do := x.fail(r)
	require.Zero(t, wait)
	require.Zero(t, do)
}

// Who is to ack and stops to follow before it does leaves nothing to send.
func TestAnAckThatIsTakenBack(t *testing.T) {
	x := newLaneRig(t, 1, 2)
	x.l.Ack(x.members[1], false)
	x.remove(1)
	require.Nil(t, x.begin(Beside))
	require.Equal(t, started(Beside), x.l.Ack(x.members[2], false))
}

func TestAnAckMayLeaveWithTheFetchThatIsAboutToGo(t *testing.T) {
	x := newLaneRig(t, 1, 2)
	r := x.begin(Hot)
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], true), "it is under way")
	require.Nil(t, func() *LanesRound[int] { x.turn(Beside); return x.begin(Beside) }())
	x.answer(r, 2)
	require.Zero(t, x.l.Ack(x.members[1], true))
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], false), "that fetch may be late for it")
	x.turn(Beside)
	require.Nil(t, x.begin(Beside))

	x.begin(Hot)
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], true), "it has left")
	x.turn(Beside)
	require.Nil(t, x.begin(Beside))

	r = x.begin(Hot)
	x.answer(r)
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], true), "nothing brings the next fetch at once")

	x = newLaneRig(t, 1, 2)
	x.cool()
	x.follow(3)
	r = x.begin(Hot)
	x.answer(r, 3)
	require.Equal(t, started(Beside), x.l.Ack(x.members[1], true), "it is cold")
}
