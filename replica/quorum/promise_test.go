package quorum

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// A witness is the host of voter 2 of 3. It remembers what the voter promised to
// others by what it sent.
type witness struct {
	t        *testing.T
	promises []*pb.Message
	applied  []log.Offset
}

func (w *witness) Send(m Message) bool {
	for _, b := range m.letters {
		promise := new(pb.Message)
		require.NoError(w.t, proto.Unmarshal(b, promise))
		w.promises = append(w.promises, promise)
	}
	return true
}

func (w *witness) Apply(index log.Offset, _ []byte) { w.applied = append(w.applied, index) }

func (w *witness) Snapshot() ([]byte, error) { return []byte(fmt.Sprint(len(w.applied))), nil }

func (w *witness) Restore(log.Offset, []byte) error { return nil }

func (w *witness) Decided(Token, log.Offset, error) {}

func (w *witness) Wake(time.Duration) {}

// play lets the others ask the voter for all that it can promise: votes in rising terms,
// entries, others in their place, and at last its own candidature.
func (w *witness) play(fs log.FS) error {
	cfg := Config{Self: 2, Directory: directoryOf(2), Dir: "quorum", FS: fs, Voters: votersOf(3), SnapshotBytes: 300, KeepEntries: 2}
	engine, err := OpenEngine(cfg, w)
	if err != nil {
		return err
	}
	engine.Begin()
	ask := func(m *pb.Message, from uint64) error {
		m.To, m.From = new(engine.me), new(raftID(1, directoryOf(byte(from))))
		b, err := proto.Marshal(m)
		require.NoError(w.t, err)
		peer := Member{ID: 1, Directory: directoryOf(byte(from)), Addr: "addr-1"}
		if _, err := engine.Step(encodePost(formationOf3().Cluster, engine.me, peer, [][]byte{b})); err != nil {
			return err
		}
		for {
			if worked, err := engine.Work(); err != nil || !worked {
				return err
			}
		}
	}
	// All is made durable by the founder's word.
	if _, err := engine.Step(encodeHello(joined(1, 1, 1, 2, 3))); err != nil {
		return err
	}
	app := func(term, index, logTerm, commit uint64, entries ...*pb.Entry) *pb.Message {
		return &pb.Message{
			Type: pb.MsgApp.Enum(), Term: new(term), Index: new(index), LogTerm: new(logTerm), Commit: new(commit), Entries: entries,
		}
	}
	vote := func(term, index, logTerm uint64) *pb.Message {
		return &pb.Message{Type: pb.MsgVote.Enum(), Term: new(term), Index: new(index), LogTerm: new(logTerm), Context: []byte("CampaignTransfer")}
	}
	run := func(term, from, to uint64) (entries []*pb.Entry) {
		for i := from; i <= to; i++ {
			entries = append(entries, entry(i, term, fmt.Sprint("entry ", i, " of term ", term)))
		}
		return entries
	}
	for _, m := range []*pb.Message{
		vote(1, 0, 0),
		app(1, 0, 0, 0, run(1, 1, 3)...),
		app(1, 3, 1, 2, run(1, 4, 6)...),
		vote(3, 6, 1),
		app(4, 3, 1, 3, run(4, 4, 9)...),
		app(4, 9, 4, 9, run(4, 10, 30)...),
		app(4, 30, 4, 30),
		app(6, 30, 4, 30, run(6, 31, 33)...),
		vote(7, 33, 6),
	} {
		if err := ask(m, 1); err != nil {
			return err
		}
	}
	if err := engine.node.campaign(); err != nil {
		return err
	}
	for {
		if worked, err := engine.Work(); err != nil || !worked {
			return err
		}
	}
}

// check opens the disk again: each promise that was sent is kept, and the files
// contradict nothing.
func (w *witness) check(fs log.FS, at string) {
	cfg := storageConfig(fs)
	cfg.Self, cfg.Directory, cfg.Dir = 2, directoryOf(2), "quorum"
	s, err := openStorage(cfg)
	require.NoError(w.t, err, at)
	for _, p := range w.promises {
		if p.GetType() == pb.MsgPreVote || p.GetType() == pb.MsgPreVoteResp {
			continue // of what would be: it promises nothing
		}
		require.LessOrEqual(w.t, p.GetTerm(), s.kept.Term, "%s: %v", at, p)
		switch {
		case p.GetReject():
		case p.GetType() == pb.MsgVoteResp && p.GetTerm() == s.kept.Term:
			require.Equal(w.t, p.GetTo(), s.kept.Vote, "%s: %v", at, p)
		case p.GetType() == pb.MsgAppResp && p.GetTerm() == s.kept.Term:
			require.LessOrEqual(w.t, p.GetIndex(), s.last(), "%s: %v", at, p)
		}
	}
	for i := s.base.index + 1; i <= s.last(); i++ {
		entries, err := s.Entries(i, i+1, 1)
		require.NoError(w.t, err)
		require.Equal(w.t, fmt.Sprint("entry ", i, " of term ", entries[0].GetTerm()), string(entries[0].GetData()), at)
	}
	if len(w.applied) > 0 {
		require.GreaterOrEqual(w.t, s.last(), uint64(w.applied[len(w.applied)-1]), at)
	}
	require.NoError(w.t, s.close())
}

// checkLost removes the voter's directory: its identity votes again only if it has
// promised nothing, which is so before the cluster was formed. Another one may always.
func (w *witness) checkLost(fs log.FS, at string) {
	require.NoError(w.t, logtest.RemoveTree(fs, "quorum"))
	cfg := storageConfig(fs)
	cfg.Self, cfg.Directory, cfg.Dir = 2, directoryOf(2), "quorum"
	s, err := openStorage(cfg)
	if err == nil {
		require.Empty(w.t, w.promises, at)
		require.NoError(w.t, s.close())
	} else {
		require.ErrorIs(w.t, err, ErrCorrupt, at)
		require.ErrorContains(w.t, err, "it is gone", at)
	}
	cfg.Directory = directoryOf(9)
	s, err = openStorage(cfg)
	require.NoError(w.t, err, at)
	require.NoError(w.t, s.close())
}

// Power fails at every call that changes the disk, and takes all that was not synced,
// or any part of it. Whatever the voter had answered by then holds afterwards: votes,
// terms, entries. And no entry is there of a term that it does not know of. If its
// directory is lost besides, it does not promise anything else under its name.
func TestWhatWasPromisedIsKept(t *testing.T) {
	for at := 1; ; at++ {
		ended := false
		for variant, rng := range []*rand.Rand{nil, rand.New(rand.NewSource(int64(at)))} {
			if variant > 0 && at%4 != 0 && !ended {
				continue
			}
			disk := logtest.NewDisk(log.NewMemFS())
			disk.Crash(at)
			w := &witness{t: t}
			if err := w.play(disk); err == nil {
				ended = true
				votes := 0
				for _, p := range w.promises {
					if p.GetType() == pb.MsgVoteResp && !p.GetReject() {
						votes++
					}
				}
				require.Equal(t, 3, votes, "the script is of no use")
			} else {
				require.ErrorIs(t, err, logtest.ErrCrashed)
			}
			require.NoError(t, disk.PowerFail(rng))
			if lost := logtest.NewDisk(log.NewMemFS()); variant == 0 && (at < 60 || at%8 == 0) { // all of a first start
				copyTree(t, lost, disk, ".")
				w.checkLost(lost, fmt.Sprintf("call %d", at))
			}
			w.check(disk, fmt.Sprintf("call %d variant %d", at, variant))
		}
		if ended {
			require.Greater(t, at, 50)
			return
		}
	}
}
