package quorum

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"go.etcd.io/raft/v3"
)

// A barrier is a reader who waits to know that this voter leads.
type barrier struct {
	token Token
	name  [16]byte
	index uint64 // confirmed up to there; 0: not yet
}

// passBarriers decides the barriers that are confirmed and applied, and all of them
// once this voter does not lead any more: nobody would confirm them.
func (e *Engine) passBarriers(confirmed []raft.ReadState) {
	for _, r := range confirmed {
		for i := range e.barriers {
			if string(e.barriers[i].name[:]) == string(r.RequestCtx) {
				e.barriers[i].index = r.Index
			}
		}
	}
	leads := e.state == Leader
	e.barriers = slices.DeleteFunc(e.barriers, func(b barrier) bool {
		switch {
		case b.index > 0 && b.index <= e.applied:
			e.decided = append(e.decided, decision{token: b.token, index: log.Offset(e.applied)})
		case !leads:
			e.decided = append(e.decided, decision{token: b.token, err: ErrNotLeader})
		default:
			return false
		}
		return true
	})
}
