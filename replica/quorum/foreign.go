package quorum

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
)

// This file has how clusters are kept apart. A broker that has been told of one by its
// voters keeps its id, durably, also without a vote, and follows no other. And while it
// belongs to none it founds none as soon as anybody counts on one: not only another
// configured voter, but whoever sends what only members and their followers do. For the
// voters may have been others since the configuration was written; those that it names
// may all be new then, and the cluster live without them. Its leader tells them so, unless
// it votes alone and so has no timer.
//
// What is left: voters that are new, all that are configured, and that nobody of the
// cluster reaches before they found another. Its brokers then refuse that one, and it
// them; both say so.

// refuse answers a message of a broker that belongs to a cluster, or means another than
// this one. Mine: it means this very voter, which has not heard of the cluster yet.
func (e *Engine) refuse(from Member, cluster partition.UUID, mine bool) []byte {
	switch {
	case cluster == partition.UUID{} || cluster == e.status.Cluster:
		return encodeReceipt(refused)
	case e.status.formed():
		e.warnForeign(from.ID, cluster)
		return encodeHello(e.greeting())
	case e.isConfigured() && !mine:
		e.take(e.form.exists(cluster))
		if e.follow != nil && e.err == nil {
			e.follow.hints = []Voter{{ID: from.ID, Addr: from.Addr}}
			e.noteSources()
		}
	}
	return encodeReceipt(refused)
}

// noteForeign looks whether another broker is of another cluster.
func (e *Engine) noteForeign(h hello) {
	if h.Cluster != (partition.UUID{}) && h.Cluster != e.status.Cluster && e.status.formed() {
		e.warnForeign(h.ID, h.Cluster)
	}
}

// heardInstead looks at the answer to a message that was not taken: it may be the hello
// of a broker of another cluster.
func (e *Engine) heardInstead(answer []byte, err error) {
	if h, ok := readHello(answer, err); ok {
		e.noteForeign(h)
	}
}

// warnForeign tells, once, that a broker was met which is of another cluster.
func (e *Engine) warnForeign(id partition.BrokerID, cluster partition.UUID) {
	met := foreigner{id, cluster}
	if e.node == nil {
		e.status.Problem = fmt.Sprintf("broker %d is of cluster %s, and this one of cluster %s", id, cluster, e.status.Cluster)
	}
	if e.foreign[met] {
		return
	}
	if len(e.foreign) >= 4*maxVoters {
		clear(e.foreign)
	}
	e.foreign[met] = true
	e.cfg.Logger.Error("broker of another cluster", "broker", id, "its", cluster.String(), "ours", e.status.Cluster.String())
}

// keepCluster makes durable which cluster this broker follows, if it is no member.
func (e *Engine) keepCluster(formed formation) bool {
	if e.node != nil || e.disk.kept.Cluster != (partition.UUID{}) {
		return true
	}
	k := kept{formation: formed, Self: e.cfg.Self, Directory: e.cfg.Directory, Observes: true}
	return !e.fail(e.disk.keep(k))
}

// tellOutsiders has a leader send the news, now and then, to those that are configured
// as voters, and neither are any nor have been heard of: they may be new ones that know
// of no cluster. An answer makes a watcher of who gives it.
func (e *Engine) tellOutsiders() {
	if !e.status.Leading || e.tickNo%watcherTicks != 0 {
		return
	}
	for _, v := range e.cfg.Voters {
		is := func(m Member) bool { return m.ID == v.ID }
		known := v.ID == e.cfg.Self || e.watcher(v.ID, v.Addr) >= 0 || slices.ContainsFunc(e.roster.all(), is) ||
			slices.ContainsFunc(e.status.Strangers, is)
		if !known && len(e.watchers) < maxWatchers {
			e.watchers = append(e.watchers, watcher{id: v.ID, addr: v.Addr, have: e.applied, heard: e.tickNo})
		}
	}
}

// A foreigner is a broker of another cluster.
type foreigner struct {
	id      partition.BrokerID
	cluster partition.UUID
}
