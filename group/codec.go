package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// Group record format
//
// Beside commits, whose format is in package offsets, a partition of
// __consumer_offsets holds the state of groups. Keys are Kafka's; values are not,
// for they say more. Integers are big-endian.
//
//	key    int16   kind: 3 group epoch, 4 topics, 5 member, 6 assignment epoch,
//	               7 target of a member, 8 present assignment of a member
//	       string  group: int16 length and that many bytes
//	       string  member, likewise; kinds 5, 7 and 8 only
//
//	value  int16   1
//	       the fields as EncodeRecord writes them, see package wire
//
// No value: gone. Reading. A record of another kind is skipped: a later release may
// write more of them. A known kind with another version, or with bytes left over, is
// refused. Changing any of this needs a new version of the value.
const (
	kindEpoch       = 3
	kindTopics      = 4
	kindMember      = 5
	kindTargetEpoch = 6
	kindTarget      = 7
	kindCurrent     = 8
	kindBarrier     = 0x7ffe // carries nothing: once it is committed, so is all before it

	valueVersion = 1
)

// ErrRecord is matched by errors about bytes that are no record of a group.
var ErrRecord = errors.New("group: not a record of a group")

// EncodeRecord returns the bytes of a record of the group.
func EncodeRecord(group string, rec Record) (key, value []byte) {
	w := wire.NewWriter(nil)
	switch rec := rec.(type) {
	case CommitRecord:
		key = offsets.EncodeKey(offsets.Key{Group: group, Partition: rec.Partition})
		if rec.Commit != nil {
			value = offsets.EncodeCommit(*rec.Commit)
		}
		return key, value
	case EpochRecord:
		key = encodeKey(kindEpoch, group, "")
		if rec.Gone {
			return key, nil
		}
		w.Int16(valueVersion)
		w.Int32(int32(rec.Epoch))
		w.Int64(rec.Changed)
	case TopicsRecord:
		key = encodeKey(kindTopics, group, "")
		if rec.Gone {
			return key, nil
		}
		w.Int16(valueVersion)
		w.Count(len(rec.Topics))
		for _, t := range rec.Topics {
			w.String(t.Name)
			w.ID(t.ID)
			w.Int32(int32(t.Partitions))
		}
	case MemberRecord:
		key = encodeKey(kindMember, group, rec.Member)
		if rec.Gone {
			return key, nil
		}
		w.Int16(valueVersion)
		w.Int64(rec.Joined)
		encodeStrings(w, rec.Topics)
		w.Int32(rec.SessionMs)
		w.Int32(rec.RebalanceMs)
		w.String(rec.Rack)
		w.String(rec.Client)
	case TargetEpochRecord:
		key = encodeKey(kindTargetEpoch, group, "")
		if rec.Gone {
			return key, nil
		}
		w.Int16(valueVersion)
		w.Int32(int32(rec.Epoch))
	case TargetRecord:
		key = encodeKey(kindTarget, group, rec.Member)
		if rec.Gone {
			return key, nil
		}
		w.Int16(valueVersion)
		partition.EncodeIDs(w, rec.Partitions)
	case CurrentRecord:
		key = encodeKey(kindCurrent, group, rec.Member)
		if rec.Gone {
			return key, nil
		}
		w.Int16(valueVersion)
		w.Int64(int64(rec.Version))
		w.Int32(int32(rec.Epoch))
		w.Int32(int32(rec.Previous))
		w.Uint8(uint8(rec.State))
		encodeGiven(w, rec.Assigned)
		encodeGiven(w, rec.Pending)
	}
	return key, w.Bytes()
}

// encodeBatch returns records of a group as a store takes them.
func encodeBatch(group string, records []Record, timestamp int64) []log.Record {
	batch := make([]log.Record, 0, len(records))
	for _, rec := range records {
		key, value := EncodeRecord(group, rec)
		batch = append(batch, log.Record{Timestamp: timestamp, Key: key, Value: value})
	}
	return batch
}

// DecodeRecord decodes a record of any group. A record of a kind that this release
// does not know gives nil and no error.
func DecodeRecord(key, value []byte) (group string, rec Record, err error) {
	if len(key) < 2 {
		return "", nil, fmt.Errorf("%w: key of %d bytes", ErrRecord, len(key))
	}
	kind := int16(binary.BigEndian.Uint16(key))
	switch {
	case kind == offsets.KeyVersion:
		return decodeCommit(key, value)
	case kind < kindEpoch || kind > kindCurrent:
		return "", nil, nil
	}
	group, member, err := decodeKey(kind, key[2:])
	if err != nil {
		return "", nil, err
	}
	if value == nil {
		return group, tombstone(kind, member), nil
	}
	r := wire.NewReader(value)
	if v := r.Int16(); r.Err() == nil && v != valueVersion {
		return "", nil, fmt.Errorf("%w: kind %d of version %d", ErrRecord, kind, v)
	}
	rec = decodeValue(r, kind, member)
	if err := r.Done(); err != nil {
		return "", nil, fmt.Errorf("%w: kind %d: %w", ErrRecord, kind, err)
	}
	return group, rec, nil
}

func decodeCommit(key, value []byte) (string, Record, error) {
	k, err := offsets.DecodeKey(key)
	if err != nil {
		return "", nil, err
	}
	rec := CommitRecord{Partition: k.Partition}
	if value != nil {
		c, err := offsets.DecodeCommit(value)
		if err != nil {
			return "", nil, err
		}
		rec.Commit = &c
	}
	return k.Group, rec, nil
}

func decodeValue(r *wire.Reader, kind int16, member string) Record {
	switch kind {
	case kindEpoch:
		return EpochRecord{Epoch: GroupEpoch(r.Int32()), Changed: r.Int64()}
	case kindTopics:
		return TopicsRecord{Topics: wire.List(r, maxTopics, 21, func() Topic {
			return Topic{Name: r.String(maxName), ID: r.ID(), Partitions: int(r.Int32())}
		})}
	case kindMember:
		return MemberRecord{
			Member: member, Joined: r.Int64(), Topics: decodeStrings(r, maxTopics),
			SessionMs: r.Int32(), RebalanceMs: r.Int32(), Rack: r.String(maxName), Client: r.String(maxName),
		}
	case kindTargetEpoch:
		return TargetEpochRecord{Epoch: GroupEpoch(r.Int32())}
	case kindTarget:
		return TargetRecord{Member: member, Partitions: partition.DecodeIDs(r, maxList)}
	default:
		return CurrentRecord{
			Member: member, Version: Version(r.Int64()), Epoch: MemberEpoch(r.Int32()), Previous: MemberEpoch(r.Int32()),
			State: State(r.Uint8()), Assigned: decodeGiven(r), Pending: decodeGiven(r),
		}
	}
}

func tombstone(kind int16, member string) Record {
	switch kind {
	case kindEpoch:
		return EpochRecord{Gone: true}
	case kindTopics:
		return TopicsRecord{Gone: true}
	case kindMember:
		return MemberRecord{Gone: true, Member: member}
	case kindTargetEpoch:
		return TargetEpochRecord{Gone: true}
	case kindTarget:
		return TargetRecord{Gone: true, Member: member}
	default:
		return CurrentRecord{Gone: true, Member: member}
	}
}

// barrier returns a record that says nothing.
func barrier(timestamp int64) log.Record {
	return log.Record{Timestamp: timestamp, Key: encodeKey(kindBarrier, "", "")}
}

func ofMember(kind int16) bool {
	return kind == kindMember || kind == kindTarget || kind == kindCurrent
}

func encodeKey(kind int16, group, member string) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(kind))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(group))), group...)
	if ofMember(kind) {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(member))), member...)
	}
	return b
}

func decodeKey(kind int16, b []byte) (group, member string, err error) {
	group, b, ok := cutString(b)
	if ok && ofMember(kind) {
		member, b, ok = cutString(b)
	}
	if !ok || len(b) > 0 {
		return "", "", fmt.Errorf("%w: key of kind %d", ErrRecord, kind)
	}
	return group, member, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}

func encodeGiven(w *wire.Writer, all []Given) {
	w.Count(len(all))
	for _, g := range all {
		g.ID.Encode(w)
		w.Int32(int32(g.Epoch))
	}
}

func decodeGiven(r *wire.Reader) []Given {
	return wire.List(r, maxList, 24, func() Given {
		return Given{ID: partition.DecodeID(r), Epoch: MemberEpoch(r.Int32())}
	})
}
