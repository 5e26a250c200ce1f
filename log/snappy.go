package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// Snappy framing
//
// A snappy block is one piece, with its size in front. Kafka's clients for the JVM
// write several, framed by the stream format of the snappy-java library, and read
// nothing else. Integers are big-endian.
//
//	byte  0        8         12           16
//	      +--------+---------+------------+--------+-------+--------+---
//	      | magic  | version | compatible | length | block | length | ...
//	      +--------+---------+------------+--------+-------+--------+---
//
//	magic       8 bytes  0x82 "SNAPPY" 0
//	version     int32    1, of the writer
//	compatible  int32    1, the lowest version that can read it
//	length      int32    of the block that follows; up to the end
//
// Other clients write one block without a frame, which is read too.
const (
	snappyMagic   = "\x82SNAPPY\x00"
	snappyHeader  = 16
	snappyVersion = 1
	snappyBlock   = 32 << 10 // of input
)

var (
	errSnappyVersion = errors.New("unknown version of the framing")
	errSnappyLength  = errors.New("length of a block")
)

func deflateSnappy(dst, src []byte) []byte {
	dst = append(dst, snappyMagic...)
	dst = binary.BigEndian.AppendUint32(dst, snappyVersion)
	dst = binary.BigEndian.AppendUint32(dst, snappyVersion)
	for block := range slices.Chunk(src, snappyBlock) {
		most := snappy.MaxEncodedLen(len(block))
		dst = slices.Grow(dst, 4+most)
		at := len(dst) + 4
		n := len(snappy.Encode(dst[at:at+most], block))
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))[:at+n]
	}
	return dst
}

func inflateSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, []byte(snappyMagic)) {
		size, err := snappySize(src, limit)
		if err != nil {
			return nil, err
		}
		return snappy.DecodeStrict(grow(dst, size)[:size], src)
	}
	total, err := framedSize(src, limit)
	if err != nil {
		return nil, err
	}
	dst = grow(dst, total)
	for rest := src[snappyHeader:]; len(rest) > 0; {
		var block []byte
		block, rest, _ = cutBlock(rest)
		size, _ := snappy.DecodedLen(block)
		end := len(dst) + size
		if _, err := snappy.DecodeStrict(dst[len(dst):end:end], block); err != nil {
			return nil, err
		}
		dst = dst[:end]
	}
	return dst, nil
}

// framedSize returns what framed blocks inflate to, by their own word.
func framedSize(src []byte, limit int) (int, error) {
	if len(src) < snappyHeader || binary.BigEndian.Uint32(src[12:]) > snappyVersion {
		return 0, errSnappyVersion
	}
	total := 0
	for rest := src[snappyHeader:]; len(rest) > 0; {
		block, after, err := cutBlock(rest)
		if err != nil {
			return 0, err
		}
		size, err := snappySize(block, limit-total)
		if err != nil {
			return 0, err
		}
		total, rest = total+size, after
	}
	return total, nil
}

func cutBlock(b []byte) (block, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, errSnappyLength
	}
	end := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:end], b[end:], nil
}

// snappySize returns what one block inflates to, by its own word. It is not
// believed beyond what the format can do, which is 64 bytes out of 3.
func snappySize(block []byte, limit int) (int, error) {
	size, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return 0, err
	case size > limit:
		return 0, errInflated
	case size/22 > len(block):
		return 0, errSnappyLength
	}
	return size, nil
}
