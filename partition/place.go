package partition

import (
	"cmp"
	"fmt"
	"slices"
)

// Place chooses the replicas of a new topic's partitions, each list in order of
// preference: its first is the leader that it shall have. start is any number
// from 0 on; other numbers begin with other brokers. Equal arguments give equal
// lists, whatever the order of the brokers.
//
// Leaders are spread evenly over the brokers that are active, and replicas over
// all that are given, with those of one leader spread over the others, so that the
// load of one that dies is shared. If a broker names a rack, replicas go to as many
// racks as there are; a broker without one counts as a rack of its own. A fenced or
// stopping broker comes first only if there is no active one. One that keeps no
// copies gets none.
//
// The error matches [InvalidReplicas].
func Place(brokers []Broker, partitions, replicas, start int) ([][]BrokerID, error) {
	return PlaceMore(brokers, nil, partitions, replicas, start)
}

// PlaceMore is [Place] for a topic that has partitions already: what they have been
// given counts.
func PlaceMore(brokers []Broker, present [][]BrokerID, partitions, replicas, start int) ([][]BrokerID, error) {
	brokers = slices.DeleteFunc(slices.Clone(brokers), func(b Broker) bool { return b.VoterOnly })
	if partitions < 0 || replicas < 1 || start < 0 {
		text := fmt.Sprintf("%d partitions of %d replicas from broker %d on", partitions, replicas, start)
		return nil, &Error{Code: InvalidReplicas, Text: text}
	}
	if replicas > len(brokers) {
		text := fmt.Sprintf("%d replicas wanted of %d brokers", replicas, len(brokers))
		return nil, &Error{Code: InvalidReplicas, Text: text}
	}
	p := newPlacement(brokers)
	p.count(present)
	leaders := p.leaders(partitions, start)
	placed := make([][]int, partitions)
	for i, leader := range leaders {
		placed[i] = p.place(leader, replicas, i)
	}
	p.level(placed)
	lists := make([][]BrokerID, partitions)
	for i, list := range placed {
		lists[i] = p.inOrder(list)
	}
	return lists, nil
}

// A placement counts what each broker has been given. Brokers are known by their
// index in rising order of their ids.
type placement struct {
	brokers []Broker
	racks   []int   // of each broker, a number
	leads   []int   // how many partitions each comes first in
	holds   []int   // how many partitions each is a replica of
	pairs   [][]int // how many that the first leads have the second as a replica
	heirs   [][]int // how many that the first leads have the second next to it
	crowd   []int   // how many replicas of the partition at hand are in each rack
}

func newPlacement(brokers []Broker) *placement {
	n := len(brokers)
	p := &placement{
		brokers: slices.Clone(brokers), racks: make([]int, n), leads: make([]int, n), holds: make([]int, n),
		pairs: make([][]int, n), heirs: make([][]int, n),
	}
	slices.SortFunc(p.brokers, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	byName := make(map[string]int)
	racks := 0
	for i, b := range p.brokers {
		p.pairs[i], p.heirs[i] = make([]int, n), make([]int, n)
		number, known := byName[b.Rack]
		if !known || b.Rack == "" {
			number = racks
			racks++
			byName[b.Rack] = number
		}
		p.racks[i] = number
	}
	p.crowd = make([]int, racks)
	return p
}

// count takes in what there is already.
func (p *placement) count(present [][]BrokerID) {
	for _, list := range present {
		for i, id := range list {
			b, ok := slices.BinarySearchFunc(p.brokers, id, func(b Broker, id BrokerID) int { return cmp.Compare(b.ID, id) })
			if !ok {
				continue // it is not there any more
			}
			p.holds[b]++
			if i == 0 {
				p.leads[b]++
			}
		}
	}
}

// leaders returns the first replica of each partition. It counts them all before
// the others are chosen, so that these fill up what the leaders leave uneven.
func (p *placement) leaders(partitions, start int) []int {
	var able []int
	for i, b := range p.brokers {
		if !b.Fenced && !b.Stopping {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		for i := range p.brokers {
			able = append(able, i)
		}
	}
	leaders := make([]int, partitions)
	for i := range leaders {
		next := able[(i+start)%len(able)]
		for j := range able {
			if c := able[(i+start+j)%len(able)]; p.leads[c] < p.leads[next] {
				next = c
			}
		}
		p.leads[next]++
		p.holds[next]++
		leaders[i] = next
	}
	return leaders
}

// place returns the replicas of one partition, the turn-th. Ties are broken alike
// for as many turns as there are brokers, so that one round comes out even.
func (p *placement) place(leader, replicas, turn int) []int {
	clear(p.crowd)
	p.crowd[p.racks[leader]]++
	chosen := []int{leader}
	for len(chosen) < replicas {
		next := p.best(chosen, turn)
		p.holds[next]++
		p.pairs[leader][next]++
		p.crowd[p.racks[next]]++
		chosen = append(chosen, next)
	}
	return chosen
}

// level moves followers from those that hold most to those that hold least, as long
// as that makes it more even and no rack more crowded: choosing one partition after
// another cannot see what the last ones will need.
func (p *placement) level(placed [][]int) {
	for p.levelOne(placed) {
	}
}

// levelOne makes one move, if there is any to be made. Each brings the counts
// nearer together, so that they come to an end.
func (p *placement) levelOne(placed [][]int) bool {
	for _, list := range placed {
		for i, from := range list {
			if i == 0 {
				continue
			}
			for to := range p.brokers {
				if p.holds[from]-p.holds[to] < 2 || slices.Contains(list, to) || !p.roomFor(list, from, to) {
					continue
				}
				list[i] = to
				p.holds[from]--
				p.holds[to]++
				return true
			}
		}
	}
	return false
}

// roomFor reports whether the list is spread over racks as well with to in the place
// of from.
func (p *placement) roomFor(list []int, from, to int) bool {
	leaves, enters := 0, 0
	for _, c := range list {
		if p.racks[c] == p.racks[from] {
			leaves++
		}
		if p.racks[c] == p.racks[to] {
			enters++
		}
	}
	return p.racks[from] == p.racks[to] || enters < leaves
}

// inOrder returns the ids of one partition's replicas: behind the leader the one
// that has followed it least often as the next in line.
func (p *placement) inOrder(list []int) []BrokerID {
	heirs := p.heirs[list[0]]
	slices.SortStableFunc(list[1:], func(a, b int) int { return cmp.Compare(heirs[a], heirs[b]) })
	if len(list) > 1 {
		heirs[list[1]]++
	}
	ids := make([]BrokerID, len(list))
	for i, c := range list {
		ids[i] = p.brokers[c].ID
	}
	return ids
}

// best returns the broker to add to those chosen: in the rack that has fewest of
// them, then with the least to hold, then least often together with this leader.
func (p *placement) best(chosen []int, turn int) int {
	leader := p.pairs[chosen[0]]
	best := -1
	for i := range p.brokers {
		c := (i + chosen[0] + 1 + turn/len(p.brokers)) % len(p.brokers)
		if slices.Contains(chosen, c) {
			continue
		}
		if best < 0 || cmp.Or(
			cmp.Compare(p.crowd[p.racks[c]], p.crowd[p.racks[best]]),
			cmp.Compare(p.holds[c], p.holds[best]),
			cmp.Compare(leader[c], leader[best]),
		) < 0 {
			best = c
		}
	}
	return best
}
