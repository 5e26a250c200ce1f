package log

import (
	"encoding/binary"
	"sort"
)

// An epochStart says that the batches from start on are of epoch, until the next
// one says otherwise.
type epochStart struct {
	epoch Epoch
	start Offset
}

// epochs is the leader-epoch cache (KIP-101): both fields rise strictly. Values
// are never changed in place, so that readers may hold one.
type epochs []epochStart

// last returns the newest epoch, NoEpoch if there is none.
func (e epochs) last() Epoch {
	if len(e) == 0 {
		return NoEpoch
	}
	return e[len(e)-1].epoch
}

// assign notes that epoch begins at start, unless it has begun before. What
// contradicts that leaves: a newer epoch, and one that begins later or at start.
func (e epochs) assign(epoch Epoch, start Offset) epochs {
	n := len(e)
	for n > 0 && (e[n-1].epoch > epoch || e[n-1].start > start || e[n-1].start == start && e[n-1].epoch != epoch) {
		n--
	}
	if n > 0 && e[n-1].epoch == epoch {
		return e[:n:n]
	}
	return append(e[:n:n], epochStart{epoch, start})
}

// truncateEnd drops the epochs that begin at end or later.
func (e epochs) truncateEnd(end Offset) epochs {
	n := len(e)
	for n > 0 && e[n-1].start >= end {
		n--
	}
	return e[:n:n]
}

// truncateStart drops the epochs that end before start. The one that ends there stays,
// as what lies behind it may be cut: then it is the last. The one that holds start keeps
// its own, by which it is told from one that has no batch yet: that begins where the log
// ends.
func (e epochs) truncateStart(start Offset) epochs {
	n := 0
	for n+1 < len(e) && e[n+1].start < start {
		n++
	}
	return e[n:]
}

// at returns the epoch that off belongs to.
func (e epochs) at(off Offset) (Epoch, bool) {
	i := sort.Search(len(e), func(i int) bool { return e[i].start > off })
	if i == 0 {
		return NoEpoch, false
	}
	return e[i-1].epoch, true
}

// endOf answers where an epoch ends in a log that ends at end; see [Log.EndOf].
func (e epochs) endOf(epoch Epoch, end Offset) (Epoch, Offset, bool) {
	switch last := e.last(); {
	case epoch == last:
		return epoch, end, true
	case epoch > last || epoch < NoEpoch:
		return NoEpoch, 0, false
	}
	i := sort.Search(len(e), func(i int) bool { return e[i].epoch > epoch })
	if i == 0 {
		return epoch, e[0].start, true
	}
	return e[i-1].epoch, e[i].start, true
}

// Epoch checkpoint, version 1: the payload of the file
// "leader-epoch-checkpoint", in the manner of [WriteFile].
//
//	count   uint32
//	then for each: epoch int32, start int64; both rise strictly, from 0
//
// An epoch is durable here before its first batch is written; a batch whose
// epoch is not here, for its offset, is bad.
const (
	epochsFile    = "leader-epoch-checkpoint"
	epochsMagic   = 0x534C4543 // "SLEC"
	epochsVersion = 1
	epochSize     = 12
)

func (e epochs) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(e)*epochSize), uint32(len(e)))
	for _, s := range e {
		b = binary.BigEndian.AppendUint32(b, uint32(s.epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(s.start))
	}
	return b
}

func decodeEpochs(b []byte) (epochs, error) {
	bad := &CorruptError{File: epochsFile, Offset: -1, Reason: "epochs"}
	if len(b) < 4 || int64(len(b)-4) != int64(binary.BigEndian.Uint32(b))*epochSize {
		return nil, bad
	}
	var e epochs
	last := epochStart{NoEpoch, -1}
	for b = b[4:]; len(b) > 0; b = b[epochSize:] {
		s := epochStart{Epoch(binary.BigEndian.Uint32(b)), Offset(binary.BigEndian.Uint64(b[4:]))}
		if s.epoch <= last.epoch || s.start <= last.start {
			return nil, bad
		}
		e, last = append(e, s), s
	}
	return e, nil
}
