package history

import "github.com/samsalog/samsa/log"

// A send is one record's way.
type send struct {
	safe     bool // an acknowledgement means that it stands for good
	outcome  outcome
	at       Place // if acknowledged
	attempts int   // how often it may stand
}

type outcome int

const (
	underWay outcome = iota
	acked
	failed
	unknown
)

// Send says that a record is about to be sent, after all that its sender has sent
// before. Safe says that an acknowledgement promises that it stays.
func (h *History) Send(rec Record, safe bool) { h.sends[rec] = &send{safe: safe} }

// Acked says that a record is acknowledged, as written in that epoch. It has been
// tried that often at most.
func (h *History) Acked(rec Record, at Place, epoch log.Epoch, attempts int) error {
	s, err := h.settle(rec, acked, at, attempts)
	if err != nil {
		return err
	}
	s.at = at
	if !s.safe {
		return nil // the place may be another's in the end
	}
	h.reach(at.Log).answered(epoch, at.Offset)
	return h.stands(at, rec, "acknowledged")
}

// Failed says that a record is not in the log, and never will be.
func (h *History) Failed(rec Record) error {
	_, err := h.settle(rec, failed, Place{}, 0)
	return err
}

// Unknown says that a record may be in the log, or yet come to be, up to that many
// times.
func (h *History) Unknown(rec Record, attempts int) error {
	_, err := h.settle(rec, unknown, Place{}, attempts)
	return err
}

func (h *History) settle(rec Record, out outcome, at Place, attempts int) (*send, error) {
	s := h.sends[rec]
	if s == nil {
		return nil, wrong(Unsent, at, "%v has an outcome, and was not sent", rec)
	}
	if s.outcome != underWay {
		return nil, wrong(Inconsistent, at, "%v has an outcome for the second time", rec)
	}
	s.outcome, s.attempts = out, attempts
	return s, nil
}

// Counts returns how many records were sent, and how many of them were acknowledged,
// failed for certain, and have an outcome that is not known.
func (h *History) Counts() (sent, ok, no, open int) {
	for _, s := range h.sends {
		switch s.outcome {
		case acked:
			ok++
		case failed:
			no++
		case unknown:
			open++
		case underWay:
		}
	}
	return len(h.sends), ok, no, open
}
