package log_test

import (
	"fmt"
	"math/rand"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// An entry is a batch as a test remembers it: each has a value of its own.
type entry struct {
	first, next log.Offset
	epoch       log.Epoch
	time        int64 // of each record
	value       string
}

// A world is a log on a disk that fails, and what the log must hold. A script is
// drawn from rng, and is the same whatever the log is made of.
type world struct {
	t    require.TestingT
	disk *logtest.Disk
	fsys log.FS     // what the log is on, if that is another than disk
	rng  *rand.Rand // draws what is done
	eye  *rand.Rand // draws how it is looked at
	cfg  log.Config
	log  *log.Log

	start   log.Offset
	entries []entry
	synced  log.Offset // all below was called flushed
	epoch   log.Epoch
	serial  int
	flushes bool             // after each append
	ever    map[string]entry // all that was written, by value; nil: nobody asks
	// What the call under way may make of the log, if it does not return.
	adding []entry      // these may follow
	cutTo  log.Offset   // or it may end here already; -1: no cut is under way
	reset  []log.Offset // or it may be empty, here
	begin  log.Offset   // or it may start here already; -1: nothing is being deleted
}

const (
	crashDir = "data/orders-0"
)

func newWorld(t require.TestingT, seed int64) *world {
	w := &world{t: t, disk: logtest.NewDisk(log.NewMemFS()), cutTo: -1, begin: -1}
	w.draw(rand.NewSource(seed), seed)
	w.cfg = log.Config{SegmentBytes: 1200, IndexInterval: 200, MaxBatchBytes: 4000, Memory: log.NewMemory(2000), Now: ticking(300 * time.Millisecond)}
	return w
}

// ticking returns a clock that goes on by itself, so that what is done once a
// second is done now and then.
func ticking(step time.Duration) func() time.Time {
	clock := time.Unix(0, 0)
	return func() time.Time {
		clock = clock.Add(step)
		return clock
	}
}

func (w *world) draw(script rand.Source, eye int64) {
	w.rng, w.eye = rand.New(script), rand.New(rand.NewSource(eye))
}

// An action is one call of a script. run makes it, and when it succeeds does the
// same to the model; before it says what the call may leave behind if it does not.
type action struct {
	name   string
	weight int // how often a script takes it, of the weights of all
	run    func(w *world) error
}

func actions() []action {
	return []action{
		{"append", 45, (*world).appendAndFlush},
		{"replicate", 10, (*world).replicate},
		{"flush", 20, (*world).flush},
		{"truncate", 8, (*world).truncate},
		{"begin an epoch", 5, (*world).beginEpoch},
		{"checkpoint", 2, func(w *world) error { return w.log.Checkpoint() }},
		{"reset", 3, (*world).resetTo},
		{"reopen", 4, (*world).reopen},
		{"read", 3, (*world).readSome},
		{"delete before", 4, (*world).deleteBefore},
		{"roll", 2, func(w *world) error { return w.log.Roll() }},
		{"find a time", 2, (*world).findTime},
	}
}

// step takes one action. An error means that the disk failed within it.
func (w *world) step() error {
	all := actions()
	sum := 0
	for _, a := range all {
		sum += a.weight
	}
	n := w.rng.Intn(sum)
	for _, a := range all {
		if n -= a.weight; n < 0 {
			return w.take(a)
		}
	}
	return nil
}

func (w *world) take(a action) error {
	w.forget()
	err := a.run(w)
	if err == nil {
		w.forget()
	}
	return err
}

// forget says that no call is under way.
func (w *world) forget() { w.adding, w.cutTo, w.reset, w.begin = nil, -1, nil, -1 }

func (w *world) open() (log.Recovery, error) {
	fsys := w.fsys
	if fsys == nil {
		fsys = w.disk
	}
	l, rec, err := log.Open(fsys, crashDir, w.cfg)
	w.log = l
	if err != nil {
		require.Empty(w.t, w.disk.Handles(), "Open failed, and left files open: %v", err)
	}
	return rec, err
}

func (w *world) end() log.Offset {
	if n := len(w.entries); n > 0 {
		return w.entries[n-1].next
	}
	return w.start
}

// batch returns a batch of its own value, and what a test remembers of it.
func (w *world) batch(first log.Offset) (log.Batch, entry) {
	var b log.Builder
	w.serial++
	value := fmt.Sprintf("%d-%0*d", w.serial, w.rng.Intn(3)*w.rng.Intn(200), 7)
	at := int64(1000 + 5*w.serial + w.rng.Intn(40)) // they do not always rise
	for range 1 + w.rng.Intn(4) {
		b.Append(at, nil, []byte(value), nil)
	}
	built := b.Build()
	return built, entry{first, first + log.Offset(built.Count()), w.epoch, at, value}
}

// add says that a call writes a batch.
func (w *world) add(e entry) {
	w.adding = append(w.adding, e)
	if w.ever != nil {
		w.ever[e.value] = e
	}
}

func (w *world) append() error {
	if w.rng.Intn(4) == 0 {
		w.epoch++
	}
	b, e := w.batch(w.end())
	w.add(e)
	first, err := w.log.Append(w.epoch, b)
	if err == nil {
		require.Equal(w.t, e.first, first)
		w.entries = append(w.entries, e)
	}
	return err
}

func (w *world) appendAndFlush() error {
	err := w.append()
	if err == nil && w.flushes {
		w.forget()
		err = w.flush()
	}
	return err
}

func (w *world) replicate() error {
	var data []byte
	end := w.end()
	for range 1 + w.rng.Intn(6) {
		if w.rng.Intn(4) == 0 {
			w.epoch++
		}
		b, e := w.batch(end)
		b.Place(end, w.epoch)
		w.add(e)
		end = b.Next()
		data = append(data, b...)
	}
	got, err := w.log.Replicate(data)
	if err == nil {
		require.Equal(w.t, end, got)
		w.entries = append(w.entries, w.adding...)
	}
	return err
}

func (w *world) truncate() error {
	to := w.synced - 8 + log.Offset(w.rng.Intn(int(w.end()-w.synced)+10))
	to = max(to, w.start)
	n := len(w.entries)
	for n > 0 && w.entries[n-1].next > to {
		n--
	}
	cut := w.start
	if n > 0 {
		cut = w.entries[n-1].next
	}
	w.cutTo = cut
	err := w.log.Truncate(to)
	if err == nil {
		w.entries, w.synced = w.entries[:n:n], min(w.synced, cut)
	}
	return err
}

func (w *world) beginEpoch() error {
	w.epoch++
	return w.log.BeginEpoch(w.epoch)
}

func (w *world) resetTo() error {
	to := log.Offset(w.rng.Intn(int(w.end()) + 100))
	w.reset = []log.Offset{to}
	err := w.log.Reset(to)
	if err == nil {
		w.start, w.entries, w.synced = to, nil, to
	}
	return err
}

// deleteBefore raises the start to some place, in the middle of a batch or not.
func (w *world) deleteBefore() error {
	to := w.start + log.Offset(w.rng.Intn(int(w.end()-w.start)/2+1))
	n := w.firstAt(to)
	w.begin = w.end()
	if n < len(w.entries) {
		w.begin = w.entries[n].first
	}
	err := w.log.DeleteBefore(to)
	if err == nil {
		require.Equal(w.t, w.begin, w.log.Start())
		w.startAt(w.begin)
	}
	return err
}

// firstAt returns the index of the batch that holds an offset.
func (w *world) firstAt(off log.Offset) int {
	return slices.IndexFunc(append(w.entries[:len(w.entries):len(w.entries)], entry{next: off + 1}), func(e entry) bool { return e.next > off })
}

func (w *world) startAt(start log.Offset) {
	w.entries = w.entries[w.firstAt(start):]
	w.start, w.synced = start, max(w.synced, start)
}

// findTime looks for a time, and compares with what a look at all finds.
func (w *world) findTime() error {
	t := int64(990 + w.rng.Intn(5*w.serial+60))
	got, ok, err := w.log.OffsetAt(t, w.end())
	if err != nil {
		return err
	}
	n := slices.IndexFunc(w.entries, func(e entry) bool { return e.time >= t })
	require.Equal(w.t, n >= 0, ok)
	if ok {
		require.Equal(w.t, w.entries[n].first, got)
	}
	return nil
}

func (w *world) flush() error {
	end, err := w.log.Flush()
	if err == nil {
		require.Equal(w.t, w.end(), end)
		w.synced = end
	}
	return err
}

func (w *world) reopen() error {
	err := w.log.Close()
	if err == nil {
		w.synced = w.end()
		var rec log.Recovery
		if w.flushes {
			w.checkNoZeros()
		}
		if rec, err = w.open(); err == nil {
			require.False(w.t, rec.Lost)
		}
	}
	return err
}

// readSome reads once, from anywhere, and compares.
func (w *world) readSome() error {
	n := w.rng.Intn(len(w.entries) + 1)
	limit := w.rng.Intn(1500)
	if n == len(w.entries) {
		data, err := w.log.Read(w.end(), w.end()+1, limit)
		require.Empty(w.t, data)
		return err
	}
	e := w.entries[n]
	from := e.first + log.Offset(w.rng.Intn(int(e.next-e.first)))
	data, err := w.log.Read(from, w.end(), limit)
	if err != nil {
		return err
	}
	got := w.decode(data)
	require.NotEmpty(w.t, got)
	require.Equal(w.t, w.entries[n:n+len(got)], got)
	return nil
}

// decode returns the batches of what was read.
func (w *world) decode(data []byte) (got []entry) {
	for len(data) > 0 {
		b, rest, err := log.SplitBatch(data)
		require.NoError(w.t, err)
		require.NoError(w.t, b.Check())
		var value string
		for r, err := range b.Records() {
			require.NoError(w.t, err)
			value = string(r.Value)
		}
		got = append(got, entry{b.First(), b.Next(), b.Epoch(), b.MaxTimestamp(), value})
		data = rest
	}
	return got
}

// read returns the batches of the log, by the disk or by memory as it comes.
func (w *world) read(from log.Offset) []entry {
	var got []entry
	for from < w.log.End() {
		data, err := w.log.Read(from, w.log.End(), 1+w.eye.Intn(1000))
		require.NoError(w.t, err)
		require.NotEmpty(w.t, data, "nothing at %d of %d", from, w.log.End())
		got = append(got, w.decode(data)...)
		from = got[len(got)-1].next
	}
	return got
}

// What a call left the log as.
type state int

const (
	done    state = iota // all calls returned nil
	failed               // the last one returned an error
	crashed              // the log was opened again after a crash
)

// check compares the log with the model, and takes over what a failure left.
func (w *world) check(s state) {
	t, l := w.t, w.log
	for _, at := range w.reset {
		if s != done && l.Start() == at && l.End() == at {
			w.start, w.entries, w.synced = at, nil, at
			return
		}
	}
	if s != done && w.begin >= 0 && l.Start() == w.begin {
		w.startAt(w.begin)
	}
	require.Equal(t, w.start, l.Start())
	got := w.read(w.start)
	want := w.entries
	if s != done {
		want = append(want[:len(want):len(want)], w.adding...)
		must := w.synced
		if s == failed {
			must = w.end()
		}
		if w.cutTo >= 0 {
			must = min(must, w.cutTo)
		}
		require.GreaterOrEqual(t, l.End(), must, "what was flushed is gone")
		require.LessOrEqual(t, len(got), len(want), "batches that nobody wrote")
		want = want[:len(got)]
	}
	if s == done {
		require.GreaterOrEqual(t, l.Flushed(), w.synced)
		require.LessOrEqual(t, l.Flushed(), l.End())
	}
	if s == crashed {
		require.Equal(t, l.End(), l.Flushed())
	}
	require.Equal(t, append([]entry{}, want...), append([]entry{}, got...))
	w.checkEpochs(got)
	if s != done {
		w.entries, w.synced = got, min(l.Flushed(), l.End())
	}
}

func (w *world) checkEpochs(got []entry) {
	for _, e := range got {
		epoch, ok := w.log.EpochAt(e.first)
		require.True(w.t, ok)
		require.Equal(w.t, e.epoch, epoch)
	}
	if n := len(got); n > 0 {
		last, end, ok := w.log.EndOf(got[n-1].epoch)
		require.True(w.t, ok)
		require.Equal(w.t, got[n-1].epoch, last)
		require.Equal(w.t, w.log.End(), end)
	}
}

// on returns what the world is at this moment, on a copy of its disk, where
// nobody has the log open.
func (w *world) on(copied *logtest.Disk, t require.TestingT, seed int64) *world {
	c := *w
	c.t, c.disk, c.log, c.cfg.Now = t, copied, nil, ticking(300*time.Millisecond)
	c.draw(rand.NewSource(seed), seed)
	return &c
}

// A place says where a test had come to when it failed.
type place struct {
	require.TestingT
	where string
}

func (p place) Errorf(format string, args ...any) {
	p.TestingT.Errorf("%s: "+format, append([]any{p.where}, args...)...)
}
