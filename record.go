package samsa

import (
	"math"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/produce"
)

// The leaf types that an application names.
type (
	// Offset is a record's place in its partition, from 0.
	Offset = log.Offset
	// Epoch numbers the reigns of a partition's leaders, from 0.
	Epoch = log.Epoch
	// BrokerID names a broker, from 1.
	BrokerID = partition.BrokerID
	// PartitionID is a partition's number within its topic, from 0.
	PartitionID = partition.PartitionID
	// Header is a named value beside a record's own.
	Header = log.Header
	// Durability says what an acks=all reply promises.
	Durability = partition.Durability
	// Acks says when a record counts as sent.
	Acks = partition.Acks
	// TopicConfig says how a topic is kept.
	TopicConfig = partition.TopicConfig
	// Partitioner chooses a record's partition.
	Partitioner = partition.Partitioner
	// Compression is a way to make batches smaller.
	Compression = log.Compression
)

// What an acks=all reply promises; see [Durability].
const (
	Synced     = partition.Synced
	Replicated = partition.Replicated
	Unsynced   = partition.Unsynced
)

// When a record counts as sent; see [Acks].
const (
	AcksAll    = partition.AcksAll
	AcksLeader = partition.AcksLeader
	AcksNone   = partition.AcksNone
)

// The ways to compress batches. Gzip makes them small at the highest price, Snappy
// costs least, and Zstd is mostly the one to take.
const (
	NoCompression = log.NoCompression
	Gzip          = log.Gzip
	Snappy        = log.Snappy
	Zstd          = log.Zstd
)

// The partitioners. ByKey is the default: a record without a key stays with others
// of its kind until their batch is full. Manual takes Record.Partition.
var (
	ByKey  Partitioner = partition.ByKey
	Manual Partitioner = partition.Manual
)

// A Record is what is sent and what is received.
//
// On Send, Offset and Epoch are ignored, as is Partition unless the producer's
// Partitioner is [Manual]. What is received never changes and may be kept,
// read-only; keeping one record keeps its batch in memory.
type Record struct {
	Topic     string
	Partition PartitionID
	Offset    Offset
	Epoch     Epoch     // the leader epoch in which it was written
	Time      time.Time // to the millisecond; zero on Send: now
	Key       []byte    // nil: none; empty is a key
	Value     []byte    // nil: a tombstone
	Headers   []Header
}

func (r *Record) toProduce() produce.Record {
	p := produce.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: millis(r.Time)}
	if r.Time.IsZero() {
		p.Timestamp = time.Now().UnixMilli()
	}
	return p
}

// millis is t.UnixMilli, or the nearest to it that 64 bits hold.
func millis(t time.Time) int64 {
	return min(max(t.Unix(), math.MinInt64/1000), math.MaxInt64/1000-1)*1000 + int64(t.Nanosecond()/1e6)
}

// placed returns r with its place filled in.
func (r Record) placed(p produce.Placed) Record {
	r.Partition, r.Offset, r.Epoch, r.Time = p.Partition, p.Offset, p.Epoch, time.UnixMilli(p.Timestamp)
	return r
}
