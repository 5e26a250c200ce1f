package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

func TestThePaceDecidesTheLane(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, tt := range []struct {
		name  string
		enter Lane
		news  []int // ms after it entered
		look  int
		want  Lane
	}{
		{"hot and just come", Hot, nil, 499, Hot},
		{"hot and never moved", Hot, nil, 500, Cold},
		{"hot and moves", Hot, []int{400, 800}, 1299, Hot},
		{"hot and has stopped", Hot, []int{400, 800}, 1300, Cold},
		{"cold and still", Cold, nil, 9999, Cold},
		{"cold and a lone record", Cold, []int{10, 11}, 11, Cold},
		{"cold and two records in a row", Cold, []int{10, 11, 50, 51}, 51, Hot},
		{"cold and lone records far apart", Cold, []int{10, 11, 511, 512, 1100, 1101}, 1101, Cold},
		{"cold, still, and then it moves", Cold, []int{0, 1, 2, 600, 601, 602, 603}, 603, Hot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			p.enter(at(0), tt.enter)
			for _, ms := range tt.news {
				p.moved(at(ms))
			}
			require.Equal(t, tt.enter, p.in(), "it changes when it enters")
			require.Equal(t, tt.want, p.wants(at(tt.look)))
		})
	}
	require.Equal(t, "hot", Hot.String())
	require.Equal(t, "cold", Cold.String())
	require.Equal(t, "beside", Beside.String())
}

func TestWhoHasSomethingToAskStaysHot(t *testing.T) {
	now := time.Unix(100, 0)
	for _, tt := range []struct {
		name string
		edit func(*Follower)
		want bool
	}{
		{"in the ISR, and nothing to do", func(*Follower) {}, true},
		{"waits for its disk", func(f *Follower) { f.waiting = true }, false},
		{"waits for metadata", func(f *Follower) { f.suspended = true }, false},
		{"stands still", func(f *Follower) { f.failed = partition.Unsupported }, false},
		{"is delayed", func(f *Follower) { f.until = now.Add(1) }, false},
		{"was delayed", func(f *Follower) { f.until = now }, true},
		{"is not in the ISR", func(f *Follower) { f.state.ISR = brokers{1} }, false},
		{"has more than the leader", func(f *Follower) { f.start = 2 }, false},
		{"has less than the leader", func(f *Follower) { f.start = 4 }, true},
		{"is in the ELR alone", func(f *Follower) { f.state.ISR, f.state.ELR = brokers{1}, brokers{2} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFollower(FollowerConfig{ID: testID, Self: 2, Start: 3, End: 5, State: partition.State{
				Replicas: brokers{1, 2}, ISR: brokers{1, 2}, Leader: 1, Epoch: 5,
			}})
			tt.edit(f)
			require.Equal(t, tt.want, f.MayCool(now, 3))
		})
	}
}
