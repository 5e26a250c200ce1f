package replica

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/samsalog/samsa/log"
)

// A modelLog is a log as plain as can be: what package log promises, in slices.
type modelLog struct {
	batches []modelBatch
	epochs  []epochStart
	flushed log.Offset
}

// A modelBatch is a batch with the sum of all bytes of the log up to its end.
type modelBatch struct {
	log.Batch
	sum uint64
}

type epochStart struct {
	epoch log.Epoch
	start log.Offset
}

func (l *modelLog) end() log.Offset {
	if len(l.batches) == 0 {
		return 0
	}
	return l.batches[len(l.batches)-1].Next()
}

func (l *modelLog) lastEpoch() log.Epoch {
	if len(l.epochs) == 0 {
		return log.NoEpoch
	}
	return l.epochs[len(l.epochs)-1].epoch
}

// endOf returns the newest epoch at or below q, and where it ends.
func (l *modelLog) endOf(q log.Epoch) (log.Epoch, log.Offset, bool) {
	switch last := l.lastEpoch(); {
	case q == last:
		return q, l.end(), true
	case q > last:
		return log.NoEpoch, 0, false
	}
	above := slices.IndexFunc(l.epochs, func(e epochStart) bool { return e.epoch > q })
	if above == 0 {
		return q, l.epochs[0].start, true
	}
	return l.epochs[above-1].epoch, l.epochs[above].start, true
}

// assign notes where an epoch starts (KAFKA-7415).
func (l *modelLog) assign(epoch log.Epoch, start log.Offset) {
	if epoch == l.lastEpoch() {
		return
	}
	l.epochs = slices.DeleteFunc(l.epochs, func(e epochStart) bool { return e.epoch >= epoch || e.start >= start })
	l.epochs = append(l.epochs, epochStart{epoch, start})
}

func (l *modelLog) append(b log.Batch) error {
	if b.First() != l.end() || b.Epoch() < l.lastEpoch() {
		return fmt.Errorf("batch of offset %d, epoch %d, at the end %d, epoch %d", b.First(), b.Epoch(), l.end(), l.lastEpoch())
	}
	l.assign(b.Epoch(), b.First())
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, l.sum(l.end())))
	h.Write(b)
	l.batches = append(l.batches, modelBatch{b, h.Sum64()})
	return nil
}

func (l *modelLog) truncate(end log.Offset) {
	l.batches = slices.DeleteFunc(l.batches, func(b modelBatch) bool { return b.Next() > end })
	l.epochs = slices.DeleteFunc(l.epochs, func(e epochStart) bool { return e.start >= end })
	l.flushed = min(l.flushed, l.end())
}

// powerFail takes some of what was not flushed.
func (l *modelLog) powerFail(rng *rand.Rand) {
	kept := l.flushed
	for _, b := range l.batches {
		if b.First() >= kept && rng.IntN(2) == 0 {
			break
		}
		kept = max(kept, b.Next())
	}
	epochs := slices.Clone(l.epochs)
	l.truncate(kept)
	// An epoch without a batch may or may not have reached the checkpoint.
	l.epochs = slices.DeleteFunc(epochs, func(e epochStart) bool {
		return e.start > kept || e.start == kept && rng.IntN(2) == 0
	})
	l.flushed = l.end()
}

// read returns the batches in [from, upTo), a few of them at most.
func (l *modelLog) read(from, upTo log.Offset, most int) []byte {
	var data []byte
	for _, b := range l.batches {
		if b.First() >= from && b.Next() <= upTo && most > 0 {
			data = append(data, b.Batch...)
			most--
		}
	}
	return data
}

// sum stands for all bytes below end: logs with equal sums are alike up to there.
func (l *modelLog) sum(end log.Offset) uint64 {
	for i := len(l.batches) - 1; i >= 0; i-- {
		if l.batches[i].Next() <= end {
			return l.batches[i].sum
		}
	}
	return 0
}

// agree reports whether two logs are alike below both ends, and, as far as they
// have an epoch in common somewhere, up to there (log matching).
func (l *modelLog) agree(o *modelLog, below log.Offset) error {
	if end := min(below, l.end(), o.end()); l.sum(end) != o.sum(end) {
		return fmt.Errorf("they part below %d", end)
	}
	for i := min(len(l.batches), len(o.batches)) - 1; i >= 0; i-- {
		if l.batches[i].First() == o.batches[i].First() && l.batches[i].Epoch() == o.batches[i].Epoch() {
			end := l.batches[i].Next()
			if l.batches[i].sum != o.batches[i].sum {
				return fmt.Errorf("they part below %d, where both have epoch %d", end, l.batches[i].Epoch())
			}
			break
		}
	}
	return nil
}
