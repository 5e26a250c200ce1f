package log

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
)

// A Compression is what the records of a batch are compressed with, as one block:
// the codec in the attributes of the batch. Zero is none.
type Compression uint8

// The codecs. Kafka's fourth, lz4, is not supported.
const (
	NoCompression Compression = 0
	Gzip          Compression = 1
	Snappy        Compression = 2 // in the framing of Kafka's own clients; see snappy.go
	Zstd          Compression = 4
)

// MaxInflatedBytes is how many bytes of records a compressed batch may hold: 64
// MiB. Of more none is made here, and who reads one gets an error that matches
// [ErrTooLarge] before it has taken more memory than that.
const MaxInflatedBytes = 64 << 20

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

func (c Compression) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Check returns nil if batches can be compressed with c, or left alone for none.
// Otherwise the error matches [ErrUnsupported] and names the codec.
func (c Compression) Check() error {
	switch c {
	case NoCompression, Gzip, Snappy, Zstd:
		return nil
	default:
		return fmt.Errorf("%w: compression by %v", ErrUnsupported, c)
	}
}

// errInflated says that a block holds more than the limit.
var errInflated = errors.New("it inflates to more than the limit")

// inflate returns what src was made of, in memory of its own; without a codec that
// is src itself. If it is more than limit bytes the error matches [ErrTooLarge],
// and if src is not a whole block [ErrCorrupt]. No more memory is taken than src
// can inflate to, whatever it claims, nor much more than limit.
func inflate(codec Compression, src []byte, limit int) ([]byte, error) {
	out, err := inflateInto(nil, codec, src, limit)
	if cap(out) > 2*len(out) && codec != NoCompression {
		out = bytes.Clone(out) // a reader may keep it for ever
	}
	return out, err
}

// inflateInto is inflate into the memory of dst, if that has room.
func inflateInto(dst []byte, codec Compression, src []byte, limit int) ([]byte, error) {
	var err error
	switch codec {
	case NoCompression:
		return src, nil
	case Gzip:
		dst, err = inflateGzip(dst[:0], src, limit)
	case Snappy:
		dst, err = inflateSnappy(dst[:0], src, limit)
	case Zstd:
		dst, err = inflateZstd(dst[:0], src, limit)
	default:
		return nil, codec.Check()
	}
	switch {
	case errors.Is(err, errInflated):
		return nil, fmt.Errorf("%w: the records, compressed by %v, inflate to more than %d bytes", ErrTooLarge, codec, limit)
	case err != nil:
		return nil, badBatch(fmt.Sprintf("%v data: %v", codec, err))
	}
	return dst, nil
}

// deflate appends src to dst, compressed. False, and dst as it was: src is better
// left alone, since it would not get smaller, nobody could inflate it again, or
// there is no such codec.
func deflate(codec Compression, dst, src []byte) ([]byte, bool) {
	if len(src) > MaxInflatedBytes {
		return dst, false
	}
	var out []byte
	var err error
	switch codec {
	case Gzip:
		out, err = deflateGzip(dst, src)
	case Snappy:
		out = deflateSnappy(dst, src)
	case Zstd:
		out, err = deflateZstd(dst, src)
	default:
		return dst, false
	}
	if err != nil || len(out)-len(dst) >= len(src) {
		return dst, false
	}
	return out, true
}

// An appender is a writer into memory.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// A scratch is memory for what is looked at and not kept.
type scratch struct{ b []byte }

// A scratch that has grown above keptScratch is not used again.
const keptScratch = 1 << 20

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	if cap(s.b) <= keptScratch {
		scratches.Put(s)
	}
}
