package replicatest

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// assigned notes who keeps the copies from an entry on.
func (p *part) assigned(index log.Offset, replicas []partition.BrokerID) {
	if n := len(p.replicas); n > 0 && slices.Equal(p.replicas[n-1].replicas, replicas) {
		return
	}
	p.replicas = append(p.replicas, assignment{index, replicas})
}

// assignedTo reports whether a broker is to keep a copy, by the newest entry.
func (p *part) assignedTo(b partition.BrokerID) bool {
	n := len(p.replicas)
	return n > 0 && slices.Contains(p.replicas[n-1].replicas, b)
}

// reassigned holds a change of replicas against what it may take away: no reassignment
// leaves fewer complete copies than MinISR, or than there were (I13). An unclean election
// may end one with it: what is lost then is what that gives up.
func (o *observer) reassigned(id partition.ID, p *part, old, st *partition.State) {
	if slices.Equal(old.Replicas, st.Replicas) || o.unclean(id, old, st) {
		return
	}
	before, after := o.complete(old.Replicas, id, p), o.complete(st.Replicas, id, p)
	if least := min(o.table.MinISR(id), len(st.Replicas)); after < min(before, least) {
		o.w.fail("I13", "%s goes from %v to %v: of %d complete copies %d stay, of which %d are needed", p.name, old.Replicas, st.Replicas, before, after, least)
	}
}

// complete counts the copies that have all that is committed, or did until their disk was
// replaced or took it, which nobody can know before they are registered anew.
func (o *observer) complete(replicas []partition.BrokerID, id partition.ID, p *part) (n int) {
	for _, b := range replicas {
		n += b2i(o.incomplete(o.w.broker(b), id, p) == "")
	}
	return n
}

// removes sees a process begin to remove a copy: a committed entry that it has applied
// must have taken the copy away (I13).
func (o *observer) removes(p *process, id partition.ID) {
	m := p.b.mirrors[id]
	if m == nil {
		return
	}
	m.removes = true
	at := p.table.Offset()
	i := len(m.part.replicas) - 1
	for i >= 0 && m.part.replicas[i].from > at {
		i--
	}
	if i < 0 || slices.Contains(m.part.replicas[i].replicas, p.id) {
		o.w.fail("I13", "broker %d removes its copy of %s by the metadata of entry %d, which leaves it there", p.id, m.part.name, at)
	}
}
