package partition

import (
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/transport/wire"
)

// A snapshot of the metadata holds a whole [Table] as records, which say what is
// there and not how it came to be:
//
//	version  1 byte, 1
//	offset   int64, of the newest entry that the table has applied
//	count    uvarint
//	count times:
//	  type   1 byte
//	  fields as in an entry of the metadata log
//
//	type 1 broker  broker; all brokers by rising id
//	     2 topic   topic; then all topics by rising name
//
// As with entries, a record type is kept for ever once it is released, and a change
// of its fields is a new type. Tables of the same entries give the same bytes.
const snapshotVersion = 1

const (
	snapshotBroker = iota + 1
	snapshotTopic
)

// Snapshot returns all that the table holds, for [DecodeSnapshot].
func (t *Table) Snapshot() []byte {
	var w wire.Writer
	w.Uint8(snapshotVersion)
	w.Int64(int64(t.offset))
	w.Count(len(t.brokers) + len(t.order))
	for _, b := range t.brokers {
		w.Uint8(snapshotBroker)
		b.Encode(&w)
	}
	for _, id := range t.order {
		w.Uint8(snapshotTopic)
		t.topics[id].encode(&w)
	}
	return w.Bytes()
}

// DecodeSnapshot returns the table that [Table.Snapshot] was asked of: applying the
// entries behind its [Table.Offset] gives what applying all entries would have. A
// version or a type that this release does not know gives an error that matches
// [Unsupported].
func DecodeSnapshot(b []byte) (*Table, error) {
	d := newDecoder(b)
	if v := d.Uint8(); d.Err() == nil && v != snapshotVersion {
		return nil, &Error{Code: Unsupported, Text: fmt.Sprintf("metadata snapshot of version %d", v)}
	}
	im := Image{Offset: log.Offset(d.Int64())}
	if im.Offset < 0 {
		d.refuse("snapshot at offset %d", im.Offset)
	}
	for range d.Count(limitList, 1) {
		kind := d.Uint8()
		if d.failed() {
			break
		}
		switch kind {
		case snapshotBroker:
			im.Brokers = append(im.Brokers, DecodeBroker(&d.Reader))
		case snapshotTopic:
			im.Topics = append(im.Topics, d.topic())
		default:
			return nil, &Error{Code: Unsupported, Text: fmt.Sprintf("metadata snapshot record of type %d", kind)}
		}
	}
	if err := d.Done(); err != nil {
		return nil, fmt.Errorf("metadata snapshot: %w", err)
	}
	t, err := Restore(im)
	if err != nil {
		return nil, fmt.Errorf("metadata snapshot: %w", err)
	}
	return t, nil
}
