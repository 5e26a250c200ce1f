package consume

import "github.com/samsalog/samsa/log"

// A mark is a place between records: all below At are meant. Epoch is that of the
// last of them.
type mark struct {
	at    log.Offset
	epoch log.Epoch
}

// unmarked stands for a place that is not known.
var unmarked = mark{at: -1, epoch: log.NoEpoch}

// A progress says how far the records of one partition have been handed out,
// finished and committed. It is the whole rule of what may be committed:
//
//	committed, and what is finished  <=  handed, unless the caller says otherwise
type progress struct {
	handed    mark // what has been handed out
	finished  mark // what has been processed
	committed mark // what the coordinator has confirmed

	began   log.Offset // where the present run of records began
	reached log.Offset // how far it has ever been handed out
	claimed mark       // what the caller has said is finished
}

// start begins anew at a place, whatever was in hand. What was committed stands.
func (p *progress) start(at mark) {
	p.handed, p.finished, p.claimed = at, at, mark{at: -1, epoch: log.NoEpoch}
	p.began, p.reached = at.at, at.at
}

// hand notes that the record at that offset is in the caller's hands.
func (p *progress) hand(offset log.Offset, epoch log.Epoch) {
	p.handed = mark{offset + 1, epoch}
	p.reached = max(p.reached, p.handed.at)
}

// pass notes that no record lies below a mark that has not been handed out: a
// compaction may have removed the last before it. It is finished with what is in
// hand, and at once if nothing is.
func (p *progress) pass(m mark) {
	if m.at <= p.handed.at {
		return
	}
	if p.finished.at >= p.handed.at && p.finished.at < m.at {
		p.finished = m
	}
	p.handed = m
}

// delivered reports whether the record below a mark was handed out since the start:
// one of an earlier assignment, or of the caller's own making, says nothing here.
func (p *progress) delivered(m mark) bool { return m.at > p.began && m.at <= p.reached }

// settle notes that the caller has come back for more: all that was in hand is
// finished.
func (p *progress) settle() {
	if p.handed.at > p.finished.at {
		p.finished = p.handed
	}
}

// back notes that the caller has gone away without finishing what is in hand. It
// returns where to go on, and whether that is not where things stand.
func (p *progress) back() (log.Offset, bool) {
	moved := p.finished.at < p.handed.at
	if moved {
		p.handed = p.finished
	}
	return p.handed.at, moved
}

// finish notes that the caller has finished all below a place, by its own word.
func (p *progress) finish(m mark) {
	if m.at > p.claimed.at {
		p.claimed = m
	}
	if m.at > p.finished.at {
		p.finished = m
	}
}

// due returns what is finished and not committed.
func (p *progress) due() (mark, bool) {
	return p.finished, p.finished.at >= 0 && p.finished.at != p.committed.at
}
