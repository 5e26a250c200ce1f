package quorum

import (
	"fmt"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A fetch asks a member for committed entries. Who has fetched is sent the news from
// then on, until nothing is heard of it for a while.
type fetch struct {
	cluster partition.UUID // zero: any
	self    Member
	after   uint64 // the newest entry that it has
}

// News is what is told to brokers that are no voters: how things stand, and what is
// committed behind the entry that they have.
type news struct {
	hearsay bool // who says so is no member: only where the voters were counts
	formation
	roster   roster
	term     uint64
	leader   Voter  // NoBroker: none is known
	commit   uint64 // entries up to this one are committed, and applied by who says so
	snapshot mark   // to be fetched first; index 0: need not
	first    uint64 // index of the first entry
	entries  []newsEntry
}

// A newsEntry is an entry without its place.
type newsEntry struct {
	own  bool // the quorum's own: nothing to apply
	data []byte
}

func encodeFetch(f fetch) []byte {
	w := envelope(kindFetch)
	w.ID(f.cluster)
	encodeMember(w, f.self)
	w.Int64(int64(f.after))
	return w.Bytes()
}

func decodeFetch(body []byte) (fetch, error) {
	r := wire.NewReader(body)
	f := fetch{cluster: r.ID(), self: decodeMember(r), after: uint64(r.Int64())}
	if err := r.Done(); err != nil || f.after >= maxIndex || f.self.check() != nil {
		return fetch{}, malformed(err)
	}
	return f, nil
}

func encodeNews(n news) []byte {
	size := 1024
	for _, e := range n.entries {
		size += len(e.data) + 8
	}
	w := wire.NewWriter(make([]byte, 0, size))
	w.Uint8(messageVersion)
	w.Uint8(kindNews)
	w.Bool(n.hearsay)
	w.ID(n.Cluster)
	encodeMembers(w, n.Members)
	n.roster.encode(w)
	w.Int64(int64(n.term))
	w.Int32(int32(n.leader.ID))
	w.String(n.leader.Addr)
	w.Int64(int64(n.commit))
	w.Int64(int64(n.snapshot.index))
	w.Int64(int64(n.snapshot.term))
	w.Int64(int64(n.first))
	w.Count(len(n.entries))
	for _, e := range n.entries {
		w.Bool(e.own)
		w.Blob(e.data)
	}
	return w.Bytes()
}

func decodeNews(body []byte) (news, error) {
	r := wire.NewReader(body)
	n := news{hearsay: r.Bool()}
	n.Cluster = r.ID()
	n.Members = decodeMembers(r)
	n.roster = decodeRoster(r)
	n.term = uint64(r.Int64())
	n.leader = Voter{ID: partition.BrokerID(r.Int32()), Addr: r.String(maxAddr)}
	n.commit = uint64(r.Int64())
	n.snapshot = mark{uint64(r.Int64()), uint64(r.Int64())}
	n.first = uint64(r.Int64())
	for range r.Count(maxNews, 2) {
		n.entries = append(n.entries, newsEntry{own: r.Bool(), data: r.Blob(2 * MaxEntryBytes)})
	}
	if err := r.Done(); err != nil {
		return news{}, malformed(err)
	}
	if err := n.formation.check(); err != nil {
		return news{}, malformed(err)
	}
	if err := n.roster.check(); err != nil {
		return news{}, malformed(err)
	}
	end := n.first + uint64(len(n.entries))
	if n.term > maxTerm || n.commit >= maxIndex || n.snapshot.index >= maxIndex || n.first > maxIndex ||
		len(n.entries) > 0 && (n.first < firstOf || end > n.commit+1) {
		return news{}, fmt.Errorf("%w: news of entries %d to %d, committed up to %d", errMalformed, n.first, end, n.commit)
	}
	return n, nil
}

// A have says how far its sender has come.
type have struct {
	cluster partition.UUID
	index   uint64
}

func encodeHave(h have) []byte {
	w := envelope(kindHave)
	w.ID(h.cluster)
	w.Int64(int64(h.index))
	return w.Bytes()
}

func decodeHave(body []byte) (have, error) {
	r := wire.NewReader(body)
	h := have{cluster: r.ID(), index: uint64(r.Int64())}
	if err := r.Done(); err != nil || h.index >= maxIndex {
		return have{}, malformed(err)
	}
	return h, nil
}

// A watcher is a broker that is sent the news.
type watcher struct {
	id    partition.BrokerID
	addr  string
	have  uint64   // the newest entry that it is known to have
	told  headline // of the last news
	busy  bool     // news are under way
	heard int      // the tick at which it was heard of
}

// A headline is what watchers are told at once, besides the entries.
type headline struct {
	term   uint64
	leader partition.BrokerID
}

const (
	maxWatchers  = 1 << 12
	watcherTicks = 50 // for which one is remembered: it fetches ten times in that time
)

// serveFetch answers a fetch.
func (e *Engine) serveFetch(body []byte) ([]byte, error) {
	f, err := decodeFetch(body)
	if err != nil {
		return nil, err
	}
	switch {
	case e.err != nil:
		return nil, e.err
	case f.cluster != e.status.Cluster && f.cluster != (partition.UUID{}):
		return e.refuse(f.self, f.cluster, false), e.err
	case e.isOutsider():
		if len(e.hearsay.roster.voters) == 0 {
			return encodeReceipt(refused), nil
		}
		return encodeNews(e.hearsay), nil
	}
	n, err := e.newsAfter(f.after)
	if e.fail(err) {
		return nil, err
	}
	at := e.watcher(f.self.ID, f.self.Addr)
	if at < 0 {
		at = len(e.watchers)
		if at < maxWatchers {
			e.watchers = append(e.watchers, watcher{id: f.self.ID, addr: f.self.Addr})
		}
	}
	if at < maxWatchers {
		w := &e.watchers[at]
		// What it has not got by now it fetches itself.
		w.have, w.told, w.heard, w.busy = n.reaches(f.after), e.headline(), e.tickNo, false
	}
	return encodeNews(n), nil
}

func (e *Engine) watcher(id partition.BrokerID, addr string) int {
	for i := range e.watchers {
		if e.watchers[i].id == id && e.watchers[i].addr == addr {
			return i
		}
	}
	return -1
}

// reaches returns the newest entry that one has who had that many, and gets n.
func (n news) reaches(after uint64) uint64 {
	if len(n.entries) == 0 {
		return max(after, n.snapshot.index)
	}
	return n.first + uint64(len(n.entries)) - 1
}

func (e *Engine) headline() headline {
	return headline{uint64(max(e.status.Term, 0)), e.status.Leader}
}

// newsAfter returns the news for one who has the entries up to after.
func (e *Engine) newsAfter(after uint64) (news, error) {
	n := news{
		formation: e.disk.kept.formation,
		roster:    roster{located(e.roster.voters, e.cfg.Voters), located(e.roster.learners, e.cfg.Voters)},
		term:      uint64(max(e.status.Term, 0)),
		leader:    Voter{e.status.Leader, e.status.LeaderAddr},
		commit:    e.applied,
	}
	if after >= e.applied {
		return n, nil
	}
	if after < e.disk.base.index {
		n.snapshot = e.disk.snap.mark
		return n, nil
	}
	entries, err := e.disk.Entries(after+1, e.applied+1, pieceSize)
	if err != nil {
		return n, err
	}
	n.first = after + 1
	for _, entry := range entries[:min(len(entries), maxNews)] {
		own := entry.GetType() != pb.EntryNormal || len(entry.GetData()) == 0
		told := newsEntry{own: own}
		if !own {
			told.data = entry.GetData()
		}
		n.entries = append(n.entries, told)
	}
	return n, nil
}

// tellNews sends the news to those who lack them.
func (e *Engine) tellNews() {
	now := e.headline()
	for i := range e.watchers {
		w := &e.watchers[i]
		if w.busy || w.have >= e.applied && w.told == now {
			continue
		}
		n, err := e.newsAfter(w.have)
		if e.fail(err) {
			return
		}
		w.told = now
		w.busy = e.host.Send(Message{To: w.id, Addr: w.addr, kind: kindNews, body: encodeNews(n)})
	}
}

// newsTold takes the answer to news. A watcher that does not answer fetches, if it
// lives.
func (e *Engine) newsTold(m Message, answer []byte, err error) {
	at := e.watcher(m.To, m.Addr)
	if at < 0 {
		return
	}
	h, err := readAnswer(kindHave, answer, err, decodeHave)
	if err != nil || h.cluster != e.status.Cluster {
		e.heardInstead(answer, nil)
		e.watchers = append(e.watchers[:at], e.watchers[at+1:]...)
		return
	}
	w := &e.watchers[at]
	w.have, w.busy, w.heard = h.index, false, e.tickNo
}

// forgetWatchers drops those that were not heard of for long.
func (e *Engine) forgetWatchers() {
	live := e.watchers[:0]
	for _, w := range e.watchers {
		if e.tickNo-w.heard <= watcherTicks {
			live = append(live, w)
		}
	}
	clear(e.watchers[len(live):])
	e.watchers = live
}
