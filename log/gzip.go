package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

type gzipReader struct {
	src bytes.Reader
	z   gzip.Reader
}

type gzipWriter struct {
	out appender
	z   *gzip.Writer
}

var (
	gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}
	gzipWriters = sync.Pool{New: func() any {
		w := new(gzipWriter)
		w.z = gzip.NewWriter(&w.out)
		return w
	}}
)

func inflateGzip(dst, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer func() {
		r.src.Reset(nil)
		gzipReaders.Put(r)
	}()
	r.src.Reset(src)
	if err := r.z.Reset(&r.src); err != nil {
		return nil, unexpected(err)
	}
	dst = grow(dst, gzipSize(src, limit)+1) // one more, for the end to be seen
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.z.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return nil, errInflated
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return nil, err
		}
	}
}

// gzipSize is the size that the last four bytes claim, as far as deflate can
// compress: that is 1,032 times at best.
func gzipSize(src []byte, limit int) int {
	if len(src) < 4 {
		return 0
	}
	claim := uint64(binary.LittleEndian.Uint32(src[len(src)-4:]))
	return int(min(claim, uint64(len(src))*1032, uint64(limit)))
}

func deflateGzip(dst, src []byte) ([]byte, error) {
	w := gzipWriters.Get().(*gzipWriter)
	w.out.b = dst
	w.z.Reset(&w.out)
	_, err := w.z.Write(src)
	err = errors.Join(err, w.z.Close())
	dst, w.out.b = w.out.b, nil
	gzipWriters.Put(w)
	return dst, err
}

// unexpected returns err, but for the end of the data where more must follow.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// grow returns dst, which is empty, with room for n bytes.
func grow(dst []byte, n int) []byte {
	if cap(dst) < n {
		return make([]byte, 0, n)
	}
	return dst
}
