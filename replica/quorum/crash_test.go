package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// A saving is one call of storage.save, and the whole log after it.
type saving struct {
	hard    *pb.HardState
	entries []*pb.Entry
	from    int // entries that it leaves untouched
	after   []*pb.Entry
}

// savings draws what a follower may be asked to save: entries, higher terms,
// votes, and entries in place of others that were not committed.
func savings(rng *rand.Rand, n int) []saving {
	var all []saving
	var model []*pb.Entry
	term, vote, commit := uint64(1), uint64(0), uint64(0)
	for range n {
		from := len(model)
		if rng.Intn(4) == 0 {
			term++
			vote = uint64(rng.Intn(3))
			from -= rng.Intn(from - int(commit) + 1)
		}
		if vote == 0 && rng.Intn(3) == 0 {
			vote = 1 // asked for it only now
		}
		model = model[:from:from]
		var entries []*pb.Entry
		for range 1 + rng.Intn(3) {
			e := entry(uint64(len(model))+1, term, strings.Repeat("x", 1+rng.Intn(700)))
			entries, model = append(entries, e), append(model, e)
		}
		if rng.Intn(3) == 0 {
			commit += uint64(rng.Intn(len(model) - int(commit) + 1))
		}
		all = append(all, saving{hardState(term, vote, commit), entries, from, model})
	}
	return all
}

// Power fails at every call that changes the disk. What save has returned for is
// there afterwards, and of the save under way the log holds the old or the new.
func TestStorageSurvivesPowerCuts(t *testing.T) {
	for seed := range int64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			script := savings(rand.New(rand.NewSource(seed)), 25)
			at := 1
			for crashAt(t, script, at) {
				at++
			}
			require.Greater(t, at, 50)
		})
	}
}

// crashAt lets power fail at one call in three ways; false: there is no such call.
func crashAt(t *testing.T, script []saving, at int) (crashed bool) {
	for variant, rng := range []*rand.Rand{nil, rand.New(rand.NewSource(int64(at))), rand.New(rand.NewSource(-int64(at)))} {
		t.Run(fmt.Sprintf("call %d variant %d", at, variant), func(t *testing.T) {
			crashed = crashOnce(t, script, at, rng)
		})
	}
	return crashed
}

func crashOnce(t *testing.T, script []saving, at int, rng *rand.Rand) bool {
	disk := logtest.NewDisk(log.NewMemFS())
	disk.Crash(at)
	done, err := runScript(disk, script)
	if err == nil {
		return false
	}
	require.ErrorIs(t, err, logtest.ErrCrashed)
	require.NoError(t, disk.PowerFail(rng))
	s, err := openStorage(storageConfig(disk))
	require.NoError(t, err, "after %d savings", done)
	got := readAll(t, s)
	var before []*pb.Entry
	if done > 0 {
		before = script[done-1].after
		hard := script[done-1].hard
		require.GreaterOrEqual(t, s.kept.Term, hard.GetTerm())
		if s.kept.Term == hard.GetTerm() && hard.GetVote() != 0 {
			require.Equal(t, hard.GetVote(), s.kept.Vote)
		}
	}
	if done < 0 || s.kept.Cluster == (partition.UUID{}) {
		require.Empty(t, got)
		require.LessOrEqual(t, done, 0)
		return true
	}
	next := script[done]
	require.GreaterOrEqual(t, len(got), next.from, "the save under way leaves these alone")
	require.True(t, isPrefix(got, before) || isPrefix(got, next.after), "neither the old nor the new")

	require.True(t, isPrefix(got[:s.kept.Commit], next.after), "counts as committed what was overwritten")
	if s.kept.Commit > uint64(next.from) {
		requireEntries(t, next.after, got)
		return true // all of it was done, but for the answer
	}

	// The voter goes on from where it was.
	require.NoError(t, s.save(next.hard, next.entries))
	requireEntries(t, next.after, readAll(t, s))
	require.NoError(t, s.close())
	return true
}

// runScript returns how many savings were done; -1: not even the formation.
func runScript(fs log.FS, script []saving) (done int, err error) {
	s, err := openStorage(storageConfig(fs))
	if err != nil {
		return -1, err
	}
	if err := s.keep(kept{formation: formationOf3(), Self: 1, Directory: directoryOf(1)}); err != nil {
		return -1, err
	}
	for i, save := range script {
		if err := s.save(save.hard, save.entries); err != nil {
			return i, err
		}
	}
	return len(script), nil
}

// A write that was cut short is told of once: nobody had an answer that counts on it.
func TestAnUnfinishedWriteIsToldOnce(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s := formedStorage(t, disk)
	require.NoError(t, s.save(hardState(1, 0, 0), []*pb.Entry{entry(1, 1, "a")}))
	disk.Inject(logtest.Fault{Op: logtest.Sync, Name: "*.log", Err: errDisk})
	require.ErrorIs(t, s.save(nil, []*pb.Entry{entry(2, 1, strings.Repeat("x", 3000))}), errDisk)
	require.NoError(t, disk.PowerFailKeeping(0.5, rand.New(rand.NewSource(2))))
	for _, told := range []bool{true, false} {
		var text strings.Builder
		cfg := storageConfig(disk)
		cfg.Logger = slog.New(slog.NewTextHandler(&text, nil))
		s, err := openStorage(cfg)
		require.NoError(t, err)
		require.EqualValues(t, 1, s.last())
		require.Equal(t, told, strings.Contains(text.String(), "unfinished"), text.String())
		require.NoError(t, s.close())
	}
}

func isPrefix(short, long []*pb.Entry) bool {
	if len(short) > len(long) {
		return false
	}
	for i := range short {
		if !proto.Equal(short[i], long[i]) {
			return false
		}
	}
	return true
}

// Voters lose power, are killed and cut off at random, their disks take time, and
// clients propose meanwhile. All voters apply the same entries in the same order
// over all their lives, and every entry whose Propose returned nil is among them,
// at its index; one that was dropped is not.
func TestQuorumKeepsItsPromises(t *testing.T) {
	for seed := range int64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { keepsItsPromises(t, rand.New(rand.NewSource(seed))) })
		})
	}
}

func keepsItsPromises(t *testing.T, rng *rand.Rand) {
	m := newMachineRoom(t, 3)
	disks := make(map[partition.BrokerID]*logtest.Disk)
	ids := []partition.BrokerID{1, 2, 3}
	for _, id := range ids {
		disks[id] = logtest.NewDisk(log.NewMemFS())
		disks[id].Delay(time.Millisecond)
		m.rooms[id].fs = disks[id]
	}
	m.start(ids...)
	m.leading(ids...)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan map[string]error)
	seed := rng.Int63()
	go func() { done <- proposeAll(ctx, m, seed) }()
	for range 15 {
		time.Sleep(time.Duration(rng.Intn(1500)) * time.Millisecond)
		id := ids[rng.Intn(len(ids))]
		switch rng.Intn(3) {
		case 0:
			m.net.isolate(m.addr(id), true)
			time.Sleep(time.Duration(rng.Intn(4000)) * time.Millisecond)
			m.net.isolate(m.addr(id), false)
		default:
			m.net.leave(m.addr(id))
			disks[id].Fail(errDisk)
			m.rooms[id].cancel()
			<-m.rooms[id].ended
			if rng.Intn(2) == 0 {
				require.NoError(t, disks[id].PowerFail(rand.New(rand.NewSource(rng.Int63()))))
			}
			disks[id].Revive()
			time.Sleep(time.Duration(rng.Intn(2000)) * time.Millisecond)
			m.start(id)
		}
	}
	time.Sleep(10 * time.Second)
	cancel()
	results := <-done
	m.propose(m.leading(ids...), "last")
	time.Sleep(5 * time.Second)

	first := m.applied(1)
	acknowledged := 0
	at := make(map[string]int)
	for i, text := range first {
		if text != "-" {
			require.NotContains(t, at, text, "applied twice")
			at[text] = i + 1
		}
	}
	for _, id := range ids {
		require.Equal(t, first, m.applied(id), "voter %d", id)
	}
	for text, err := range results {
		switch {
		case err == nil:
			acknowledged++
			require.Contains(t, at, text)
		case !errors.Is(err, ErrOutcomeUnknown):
			require.NotContains(t, at, text, "%v", err)
		}
	}
	require.Greater(t, acknowledged, 20)
	m.stopAll(ids...)
}

// proposeAll proposes at every voter again and again, and returns what became of
// each entry.
func proposeAll(ctx context.Context, m *machineRoom, seed int64) map[string]error {
	rng := rand.New(rand.NewSource(seed))
	type result struct {
		text string
		err  error
	}
	results := make(chan result, 1<<12) // as many as there can be: nobody waits
	n := 0
	for ; ctx.Err() == nil && n < cap(results); n++ {
		text := fmt.Sprint("entry ", n)
		q := m.at(partition.BrokerID(1 + rng.Intn(3)))
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, err := q.Propose(ctx, log.NoEpoch, []byte(text))
			results <- result{text, err}
		}()
		time.Sleep(time.Duration(rng.Intn(40)) * time.Millisecond)
	}
	all := make(map[string]error)
	for range n {
		r := <-results
		all[r.text] = r.err
	}
	return all
}

func TestFailedSyncTakesTheVoterOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		disk := logtest.NewDisk(log.NewMemFS())
		m.rooms[1].fs = disk
		m.start(1, 2, 3)
		require.Equal(t, partition.BrokerID(1), m.leading(1, 2, 3))
		m.propose(1, "a")
		disk.FailNth(logtest.Sync, 1, errDisk)
		_, err := m.rooms[1].q.Propose(t.Context(), log.NoEpoch, []byte("b"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, errDisk)
		require.ErrorIs(t, <-m.rooms[1].ended, errDisk)
		require.False(t, m.rooms[1].q.Status().Leading)
		m.net.leave("voter-1")
		m.propose(m.leading(2, 3), "c")
		m.stopAll(2, 3)
	})
}

// A process dies, or its disk fails, between the rename of its state and the sync of
// that. The next one goes on from there, and must not build on what the power can take.
func TestAStateThatWasNotSyncedIsSyncedBeforeItCounts(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s := formedStorage(t, disk)
	require.NoError(t, s.save(hardState(2, 0, 0), []*pb.Entry{entry(1, 2, "a")}))
	disk.FailNth(logtest.SyncDir, 1, errors.New("broken"))
	require.Error(t, s.save(hardState(3, 2, 0), nil))
	disk.Fail(errors.New("dead"))
	disk.Revive()

	s, err := openStorage(storageConfig(disk))
	require.NoError(t, err)
	require.EqualValues(t, 3, s.kept.Term)
	require.NoError(t, s.save(hardState(3, 2, 0), []*pb.Entry{entry(2, 3, "b")}), "the term and the vote are there already")
	require.NoError(t, disk.PowerFail(nil))
	s, err = openStorage(storageConfig(disk))
	require.NoError(t, err)
	require.EqualValues(t, 3, s.kept.Term)
	require.EqualValues(t, 2, s.kept.Vote)
	require.NoError(t, s.close())
}
