package log

// An Offset is a record's place in its partition: 0 for the first, one more for
// each that follows, never given twice. As an end it is exclusive.
type Offset int64

// An Epoch numbers the reigns of a partition's leaders (Kafka's leader epoch).
// The first is 0; NoEpoch, -1, stands for none.
type Epoch int32

// NoEpoch is the epoch of a log that holds no batch.
const NoEpoch Epoch = -1

// A Header is a named value beside a record's own. Keys may repeat.
type Header struct {
	Key   string
	Value []byte // nil is told apart from empty
}

// A Record is one entry of a log. Slices that come out of a log share its
// memory: they may be kept, and must not be written to.
type Record struct {
	Offset    Offset
	Timestamp int64  // milliseconds since the Unix epoch
	Key       []byte // nil: none
	Value     []byte // nil: a tombstone
	Headers   []Header
}
