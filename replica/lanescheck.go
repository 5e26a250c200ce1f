package replica

import "fmt"

// Count returns how many copies each lane has, and how many of the cold ones the leader
// keeps.
func (l *Lanes[C]) Count() (hot, cold, kept int) {
	return len(l.hot), len(l.cold), len(l.cold) - len(l.fresh)
}

// Check returns what is broken of what always holds: each copy is in the one lane that
// its pace says, a cold one is kept by the leader or named next, and whoever waits for a
// turn waits for a lane that has turns.
func (l *Lanes[C]) Check() error {
	for _, m := range l.hot {
		if m.gone || m.kept || m.pace.in() != Hot {
			return fmt.Errorf("replica: hot partition %v: %+v", m.id, *m)
		}
	}
	named := make(map[*Followed[C]]bool, len(l.fresh))
	for _, m := range l.fresh {
		named[m] = true
	}
	for id, m := range l.cold {
		if m.gone || m.id != id || m.pace.in() != Cold || m.kept == named[m] {
			return fmt.Errorf("replica: cold partition %v, to be named %t: %+v", id, named[m], *m)
		}
	}
	if len(named) > len(l.cold) || len(named) != len(l.fresh) {
		return fmt.Errorf("replica: %d partitions to be named of %d cold ones", len(l.fresh), len(l.cold))
	}
	for lane, waits := range [lanes]int{len(l.hot) + len(l.coming), len(l.cold), len(l.acks)} {
		if waits > 0 && !l.ways[lane].running {
			return fmt.Errorf("replica: %d partitions wait for the %v lane, which rests", waits, Lane(lane))
		}
	}
	return nil
}
