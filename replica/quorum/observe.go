package quorum

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A broker that is no voter follows what is committed: it fetches from one of the
// voters, which then sends it the news as they come. It keeps nothing but which cluster
// that is: after a restart it begins with the snapshot of whoever it asks first. Because
// only what is committed is served, nothing that it has been told is ever taken back; a source that lags, or
// is cut off, is only late, and another is asked when it says nothing.

// An observer is whom a broker without a vote follows.
type observer struct {
	sources []Member // to be asked in turn
	at      int
	heard   bool    // of the source, since the last time that it was asked
	failed  int     // how many in a row could not be asked
	hints   []Voter // where the voters were, says one who is none
	hinted  uint64  // as of that entry
}

// observeEvery is how often a source is asked whether there is any news, in ticks. It
// bounds how long news that were lost stay unknown.
const observeEvery = 5

// observe begins to follow the voters that are known.
func (e *Engine) observe() {
	if e.follow != nil {
		return
	}
	e.follow = &observer{heard: true}
	e.noteSources()
	e.pollSource()
}

// noteSources makes the sources follow what is known of the voters. Those that are
// configured stay among them: all that were known may be gone.
func (e *Engine) noteSources() {
	var sources []Member
	for _, v := range slices.Concat(e.status.Voters, e.follow.hints, e.cfg.Voters) {
		m := Member{ID: v.ID, Addr: v.Addr}
		if v.ID != e.cfg.Self && v.Addr != "" && !slices.Contains(sources, m) {
			sources = append(sources, m)
		}
	}
	o := e.follow
	if len(sources) == 0 || slices.Equal(sources, o.sources) {
		return
	}
	var now Member
	if len(o.sources) > 0 {
		now = o.sources[o.at]
	}
	o.sources = sources
	o.at = max(0, slices.Index(sources, now))
}

// pollSource asks for the news, at another source if this one has said nothing.
func (e *Engine) pollSource() {
	o := e.follow
	if o == nil {
		return
	}
	if !o.heard {
		e.turnSource()
	}
	o.heard = false
	e.host.Wake(observeEvery * e.cfg.Tick)
	if e.isConfigured() && e.node == nil {
		e.greetAll() // so that the voters know that it would be one
	}
	e.fetchNews()
}

func (e *Engine) fetchNews() {
	o := e.follow
	if len(o.sources) == 0 || e.pulling != nil {
		return
	}
	s := o.sources[o.at]
	f := fetch{cluster: e.status.Cluster, self: e.self(), after: e.shown}
	e.host.Send(Message{To: s.ID, Addr: s.Addr, kind: kindFetch, body: encodeFetch(f)})
}

func (e *Engine) turnSource() {
	if o := e.follow; len(o.sources) > 0 {
		o.at = (o.at + 1) % len(o.sources)
	}
}

// nextSource asks another source: at once, unless all have been asked in vain.
func (e *Engine) nextSource() {
	o := e.follow
	if o == nil {
		return
	}
	e.turnSource()
	if o.failed++; o.failed < len(o.sources) {
		e.fetchNews()
		return
	}
	o.failed = 0
	if !e.status.formed() {
		e.status.Problem = "none of the voters has answered as a member of a cluster yet"
	}
	o.heard = true // there is no need to go on from this one
	e.host.Wake(max(firstRetry, e.cfg.Tick))
}

// gotNews takes the answer to a fetch.
func (e *Engine) gotNews(m Message, answer []byte, err error) {
	o := e.follow
	if o == nil || len(o.sources) == 0 || o.sources[o.at].ID != m.To {
		return // another is asked now
	}
	n, err := readAnswer(kindNews, answer, err, decodeNews)
	if err != nil {
		e.heardInstead(answer, nil)
		e.nextSource()
		return
	}
	if e.status.formed() && n.Cluster != e.status.Cluster {
		e.warnForeign(m.To, n.Cluster)
		e.nextSource()
		return
	}
	if n.hearsay {
		if n.commit > o.hinted { // two who know of different voters could else be asked in turn for ever
			o.hints, o.hinted = votersByID(n.roster.voters), n.commit
			e.noteSources()
		}
		e.nextSource()
		return
	}
	o.failed = 0
	before := e.shown
	e.learn(n, o.sources[o.at])
	if e.follow != nil && e.pulling == nil && e.shown > before && e.shown < n.commit {
		e.fetchNews()
	}
}

// hearNews takes news that were sent unasked, and answers them.
func (e *Engine) hearNews(body []byte) ([]byte, error) {
	n, err := decodeNews(body)
	if err != nil {
		return nil, err
	}
	if e.err != nil || e.follow == nil || n.hearsay || n.Cluster != e.status.Cluster {
		return e.refuse(Member{ID: n.leader.ID, Addr: n.leader.Addr}, n.Cluster, false), e.err // the sender need not go on
	}
	e.learn(n, e.follow.source())
	return encodeHave(have{e.status.Cluster, e.shown}), e.err
}

func (o *observer) source() Member {
	if len(o.sources) == 0 {
		return Member{}
	}
	return o.sources[o.at]
}

// learn takes what a voter says of the quorum, and the entries.
func (e *Engine) learn(n news, from Member) {
	if !e.keepCluster(n.formation) {
		return
	}
	e.follow.heard = n.leader.ID != partition.NoBroker // else it may be cut off: another is asked next
	for i, entry := range n.entries {
		index := n.first + uint64(i)
		if index != e.shown+1 {
			continue // it is known, or something between is not
		}
		e.show(index, entry.data)
	}
	if e.isOutsider() {
		e.noteNews(n)
	}
	e.noteSources()
	switch {
	case e.node == nil && n.roster.holds(e.self()):
		e.enter(n.formation)
	case n.snapshot.index > e.shown:
		e.pullSnapshot(pull{mark: n.snapshot, from: from})
	case e.node != nil && !n.roster.holds(e.self()) && n.commit >= e.applied && !e.led && !e.outside:
		e.expelled(n)
	}
}

// noteNews makes the status follow the news. Those of a term older than of the last are
// none; one that this member has campaigned in, for nothing, is nobody else's.
func (e *Engine) noteNews(n news) {
	s := &e.status
	if n.term < e.hearsay.term || n.commit < uint64(max(s.Commit, 0)) {
		return
	}
	e.hearsay = news{hearsay: true, formation: n.formation, roster: n.roster, term: n.term, commit: n.commit}
	s.Cluster, s.Term = n.Cluster, log.Epoch(n.term)
	s.Leader, s.LeaderAddr = n.leader.ID, n.leader.Addr
	s.Commit, s.Applied = log.Offset(n.commit), log.Offset(e.shown)
	s.Voters, s.Learners = votersByID(n.roster.voters), votersByID(n.roster.learners)
	switch {
	case s.Role == Observer:
		s.Problem = ""
	case e.node == nil:
		s.Problem = e.form.missing()
	}
}

// observed goes on from a snapshot.
func (e *Engine) observed(snap snapshot) {
	e.reset(snap)
	e.status.Applied = log.Offset(e.shown)
	if e.follow != nil {
		e.fetchNews()
	}
}

// enter makes a member of an observer that has been let in. Its promises begin here,
// with an empty log: the leader sends it all, or a snapshot.
func (e *Engine) enter(formed formation) {
	k := kept{formation: formed, Self: e.cfg.Self, Directory: e.cfg.Directory}
	k.Joined = !formed.holds(k.Self, k.Directory)
	if e.fail(e.disk.keep(k)) {
		return
	}
	e.cfg.Logger.Info("broker was let in to the quorum", "cluster", formed.Cluster.String())
	e.form.formed, e.form.strange = formed, partition.UUID{}
	e.join()
}

// expelled takes the word of another that this member is none any more: who is
// removed is not told by the leader. It stays silent, and follows as an observer.
func (e *Engine) expelled(n news) {
	e.cfg.Logger.Warn("voter was removed from the quorum", "cluster", n.Cluster.String(), "broker", e.cfg.Self)
	e.outside = true
	e.status.Role, e.status.Problem = Stranger, "this broker was removed from the quorum"
	e.noteNews(n)
}

// isOutsider reports whether this broker is no member, as far as it knows, so that the news
// are all that it is told.
func (e *Engine) isOutsider() bool {
	return e.node == nil || e.outside || !e.roster.holds(e.self())
}

// isConfigured reports whether the configuration names this broker as a voter.
func (e *Engine) isConfigured() bool {
	return slices.ContainsFunc(e.cfg.Voters, func(v Voter) bool { return v.ID == e.cfg.Self })
}

// miss counts the ticks for which a member has heard of no leader. In the end it asks
// around: it may have been removed.
func (e *Engine) miss() {
	switch {
	case e.led && e.follow != nil && e.roster.holds(e.self()):
		e.follow, e.silent = nil, 0
		e.host.Wake(-1)
	case e.led:
		e.silent = 0
	default:
		if e.silent++; e.silent > 3*e.cfg.ElectionTicks {
			e.observe()
		}
	}
}
