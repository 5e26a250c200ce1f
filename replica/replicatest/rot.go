package replicatest

import (
	oldrand "math/rand"
	"path/filepath"

	"github.com/samsalog/samsa/partition/mutate"
)

// rot changes a bit of what a voter keeps for the quorum, if the others can do without
// that voter: one that sees damage below what it has synced must not vote again. Its disk
// is replaced in the end, and it comes back as a stranger.
func (w *World) rot(b *broker, f Fault) {
	for _, o := range w.brokers {
		if o.harmed() || o.rotten {
			return
		}
	}
	if !b.voter || !w.spareable(b) || !w.votersSuffice() {
		return
	}
	rng := oldrand.New(oldrand.NewSource(f.seed))
	var files []string
	for _, dir := range []string{quorumDir, filepath.Join(quorumDir, "quorum-log")} {
		names, err := b.disk.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			if path := filepath.Join(dir, name); filepath.Base(path) != "quorum-log" {
				files = append(files, path)
			}
		}
	}
	if len(files) == 0 {
		return
	}
	file := files[rng.Intn(len(files))]
	if b.disk.FlipBit(file, int64(rng.Intn(1<<uint(4+rng.Intn(8)))), uint(rng.Intn(8))) == nil {
		b.rotten = true
		w.tell("a bit of %s of broker %d is another", file, b.id)
	}
}

// votersSuffice reports whether a majority of voters is left when one more is not.
func (w *World) votersSuffice() bool {
	left := 0
	for _, id := range w.setup.voters {
		b := w.broker(id)
		left += b2i(b.voter && !b.rotten)
	}
	return left-1 > len(w.setup.voters)/2
}

// replace puts an empty disk in the place of one that keeps its voter from coming back.
func (w *World) replace(b *broker) {
	if b.rotten && w.spareable(b) {
		b.renew()
		b.voter = b.voter && mutate.On("wiped voter keeps its name")
		w.note("replaced", b.id, 0, 0)
	}
}
