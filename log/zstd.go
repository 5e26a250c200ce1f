package log

import (
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The decoder serves everybody, as many at once as there are processors; others
// wait. It hands its parts on through a channel. A channel belongs to the
// [testing/synctest] bubble in which it is made and is of no use outside, so it is
// made before there is one, and not at first use. What costs memory is made at
// first use all the same.
var zstdDecoder = newZstdDecoder()

func newZstdDecoder() *zstd.Decoder {
	d, _ := zstd.NewReader(nil, // no error: there is nothing wrong with these options
		zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	return d
}

const (
	zstdBlock = 128 << 10 // what one block can hold
	zstdSlack = 16        // behind the output it lets the decoder copy in larger steps
)

var (
	errZstdBlock = errors.New("header of a block")
	errZstdSize  = errors.New("size of a frame")
)

func inflateZstd(dst, src []byte, limit int) ([]byte, error) {
	most, err := zstdSize(src)
	if err != nil {
		return nil, err
	}
	room := int(min(most, uint64(limit))) + zstdSlack
	if most > uint64(limit) {
		room += zstdBlock // so that the block that goes beyond the limit is seen to
	}
	dst = grow(dst, room)
	out, err := zstdDecoder.DecodeAll(src, dst[:0:room])
	switch {
	case len(out) > limit || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, errInflated
	case err != nil:
		return nil, err
	}
	return out, nil
}

// zstdSize returns how much the frames of src inflate to, at most: what they say,
// or, where their writer did not know, what their blocks can hold.
func zstdSize(src []byte) (uint64, error) {
	total := uint64(0)
	for len(src) > 0 {
		var h zstd.Header
		rest, err := h.DecodeAndStrip(src)
		if err != nil {
			return 0, err
		}
		size, tail := uint64(0), int64(h.SkippableSize)
		if !h.Skippable {
			if size, rest, err = zstdBlocks(rest); err != nil {
				return 0, err
			}
			if h.HasFCS && h.FrameContentSize > size {
				return 0, errZstdSize
			}
			if h.HasFCS {
				size = h.FrameContentSize
			}
			if h.HasCheckSum {
				tail = 4
			}
		}
		if tail > int64(len(rest)) {
			return 0, io.ErrUnexpectedEOF
		}
		total, src = total+size, rest[tail:]
	}
	return total, nil
}

// zstdBlocks returns what the blocks of a frame can hold, and what follows them.
func zstdBlocks(b []byte) (size uint64, rest []byte, err error) {
	const (
		repeated   = 1
		compressed = 2
		reserved   = 3
	)
	for last := false; !last; {
		if len(b) < 3 {
			return 0, nil, io.ErrUnexpectedEOF
		}
		h := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		b, last = b[3:], h&1 != 0
		holds, takes := h>>3, h>>3
		switch h >> 1 & 3 {
		case repeated:
			takes = 1
		case compressed:
			holds = zstdBlock
		case reserved:
			return 0, nil, errZstdBlock
		}
		if holds > zstdBlock || takes > len(b) {
			return 0, nil, errZstdBlock
		}
		size, b = size+uint64(holds), b[takes:]
	}
	return size, b, nil
}

type zstdWriter struct {
	out appender
	z   *zstd.Encoder
}

// zstdWindow is how far back a match may lie. Few batches are larger, and each
// writer has as much memory.
const zstdWindow = 1 << 20

// A writer is used as a stream, in the caller's goroutine: so it has no channel,
// which could not leave its bubble; see zstdDecoder.
var zstdWriters = sync.Pool{New: func() any {
	w := new(zstdWriter)
	w.z, _ = zstd.NewWriter(nil, // no error: there is nothing wrong with these options
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false)) // the batch has one
	return w
}}

func deflateZstd(dst, src []byte) ([]byte, error) {
	w := zstdWriters.Get().(*zstdWriter)
	w.out.b = dst
	w.z.ResetContentSize(&w.out, int64(len(src)))
	_, err := w.z.Write(src)
	err = errors.Join(err, w.z.Close())
	dst, w.out.b = w.out.b, nil
	zstdWriters.Put(w)
	return dst, err
}
