package log

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
)

// Producer snapshot, version 2: the payload of the file "<offset in 20
// digits>.snapshot", in the manner of [WriteFile].
//
//	offset       int64   the state is that of the batches below; it is the one in
//	                     the name, or the file is refused
//	flags        uint16  bit 0: producers may have been forgotten; the rest must be 0
//	count        uint32
//	then for each producer, the one silent the longest first:
//	id           int64   at least 0, and no other's
//	epoch        int16
//	coordinator  int32   epoch of the coordinator of the last transaction; -1: none
//	transaction  int64   first offset of the one under way; -1: none
//	appended     int64   when the last batch was, in milliseconds
//	batches      uint8   at most 5
//	then for each batch of the epoch, oldest first, at rising offsets:
//	first, last  int32   sequences, at least 0; 0 follows 2^31-1
//	offset       int64   of the last record
//	timestamp    int64   the latest of its records, in milliseconds
//
// Version 1 is Kafka's, which has the last batch alone. It was never written
// here.
//
// Changing any of this needs a new version and a new file in testdata/golden.
const (
	snapshotMagic   = 0x53505253 // "SPRS"
	snapshotVersion = 2
	snapshotSuffix  = ".snapshot"

	snapshotHead      = 14
	snapshotProducer  = 31
	snapshotBatch     = 24
	snapshotForgotten = 1
)

func snapshotPath(dir string, at Offset) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", at, snapshotSuffix))
}

// encode returns the payload of a snapshot. All batches below at were noted, and
// no others.
func (t *producers) encode(at Offset) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := make([]byte, 0, snapshotHead+len(t.all)*(snapshotProducer+producerWindow*snapshotBatch))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	flags := uint16(0)
	if t.incomplete {
		flags = snapshotForgotten
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.all)))
	for i := t.oldest; i >= 0; i = t.all[i].newer {
		b = t.all[i].encode(b)
	}
	return b
}

func (p *producer) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.id))
	b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(p.coordinatorEpoch))
	b = binary.BigEndian.AppendUint64(b, uint64(p.transaction))
	b = binary.BigEndian.AppendUint64(b, uint64(p.appended))
	b = append(b, p.count)
	for _, have := range p.batches[:p.count] {
		b = binary.BigEndian.AppendUint32(b, uint32(have.firstSequence))
		b = binary.BigEndian.AppendUint32(b, uint32(have.lastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(have.last))
		b = binary.BigEndian.AppendUint64(b, uint64(have.timestamp))
	}
	return b
}

// readProducers reads the snapshot that was taken at an offset.
func readProducers(fsys FS, dir string, at Offset) (*producers, error) {
	b, err := ReadFile(fsys, snapshotPath(dir, at), snapshotMagic, snapshotVersion)
	if err != nil {
		return nil, err
	}
	return decodeProducers(b, at)
}

// decodeProducers returns the producers of a snapshot that was taken at an
// offset. The error matches [ErrCorrupt] if it was not, or is none.
func decodeProducers(b []byte, at Offset) (*producers, error) {
	bad := func(reason string) error {
		return &CorruptError{File: filepath.Base(snapshotPath("", at)), Offset: -1, Reason: reason}
	}
	if len(b) < snapshotHead {
		return nil, bad("producers")
	}
	flags, count := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint32(b[10:])
	switch {
	case Offset(binary.BigEndian.Uint64(b)) != at:
		return nil, bad("offset")
	case flags&^snapshotForgotten != 0:
		return nil, bad("flags")
	}
	t := newProducers()
	t.incomplete = flags != 0
	b = b[snapshotHead:]
	for range count {
		p, rest, ok := decodeProducer(b, at)
		if _, twice := t.at[p.id]; !ok || twice {
			return nil, bad("producer")
		}
		t.insert(p)
		b = rest
	}
	if len(b) > 0 {
		return nil, bad("bytes behind the last producer")
	}
	return t, nil
}

func decodeProducer(b []byte, at Offset) (p producer, rest []byte, ok bool) {
	if len(b) < snapshotProducer {
		return p, b, false
	}
	p = producer{
		id:               int64(binary.BigEndian.Uint64(b)),
		epoch:            int16(binary.BigEndian.Uint16(b[8:])),
		coordinatorEpoch: int32(binary.BigEndian.Uint32(b[10:])),
		transaction:      Offset(binary.BigEndian.Uint64(b[14:])),
		appended:         int64(binary.BigEndian.Uint64(b[22:])),
		count:            b[30],
	}
	b = b[snapshotProducer:]
	if p.id < 0 || p.transaction < -1 || p.transaction >= at ||
		p.count > producerWindow || len(b) < int(p.count)*snapshotBatch {
		return p, b, false
	}
	next := Offset(0)
	for i := range p.batches[:p.count] {
		have := producerBatch{
			firstSequence: int32(binary.BigEndian.Uint32(b)),
			lastSequence:  int32(binary.BigEndian.Uint32(b[4:])),
			last:          Offset(binary.BigEndian.Uint64(b[8:])),
			timestamp:     int64(binary.BigEndian.Uint64(b[16:])),
		}
		if have.firstSequence < 0 || have.lastSequence < 0 || have.first() < next || have.last >= at {
			return p, b, false
		}
		p.batches[i], next = have, have.last+1
		b = b[snapshotBatch:]
	}
	return p, b, true
}
