package log

import (
	"bytes"
	"errors"
	"io"
)

const scanStep = 256 << 10

// A scanner reads the batches of a segment file through a buffer. What it
// returns holds until the next call.
type scanner struct {
	file File
	size int64 // bytes of the file that may be read
	want int   // bytes to read at once
	buf  []byte
	at   int64 // place of buf[0] in the file
}

// bytes returns n bytes at pos. The error matches ErrShort if the file ends
// before.
func (sc *scanner) bytes(pos, n int64) ([]byte, error) {
	if n > sc.size-pos {
		return nil, ErrShort
	}
	if i := pos - sc.at; i >= 0 && i+n <= int64(len(sc.buf)) {
		return sc.buf[i : i+n : i+n], nil
	}
	want := min(max(n, int64(sc.want)), sc.size-pos)
	if int64(cap(sc.buf)) < want {
		sc.buf = make([]byte, want)
	}
	got, err := sc.file.ReadAt(sc.buf[:want], pos)
	sc.buf, sc.at = sc.buf[:got], pos
	switch {
	case int64(got) >= n:
		return sc.buf[:n:n], nil
	case err == nil || errors.Is(err, io.EOF):
		return nil, ErrShort
	}
	return nil, err
}

// header returns the header of the batch at pos, whose records lie in the file
// as a whole; they are not in what is returned.
func (sc *scanner) header(pos int64) (Batch, error) {
	b, err := sc.bytes(pos, BatchOverhead)
	if err != nil {
		return nil, err
	}
	if _, _, err := SplitBatch(b); err != nil && !errors.Is(err, ErrShort) {
		return nil, err
	}
	if Batch(b).size() > sc.size-pos {
		return nil, ErrShort
	}
	return b, nil
}

// batch returns the batch at pos, not yet checked.
func (sc *scanner) batch(pos int64) (Batch, error) {
	h, err := sc.header(pos)
	if err != nil {
		return nil, err
	}
	return sc.bytes(pos, h.size())
}

// zeros tells whether nothing but zeros lies behind pos.
func (sc *scanner) zeros(pos int64) (bool, error) {
	for pos < sc.size {
		b, err := sc.bytes(pos, min(int64(sc.want), sc.size-pos))
		if err != nil {
			return false, err
		}
		for rest := b; len(rest) > 0; {
			n := min(len(rest), len(zeros))
			if !bytes.Equal(rest[:n], zeros[:n]) {
				return false, nil
			}
			rest = rest[n:]
		}
		pos += int64(len(b))
	}
	return true, nil
}

// A walk goes through the batches of a segment one by one, and checks each.
type walk struct {
	scanner
	base   Offset
	epochs epochs
	pos    int64  // where the next batch begins
	next   Offset // its first offset
	digest digest // of those before it

	batches int64 // how many those are
	learn   bool  // the epochs are those of the batches, as they come
}

func newWalk(file File, size int64, base Offset, e epochs) *walk {
	return &walk{
		scanner: scanner{file: file, size: size, want: scanStep},
		base:    base, epochs: e, next: base, digest: newDigest(),
	}
}

// step returns the next batch, which holds until the step after.
func (w *walk) step() (Batch, error) {
	b, err := w.batch(w.pos)
	if err == nil && w.learn && b.Epoch() >= 0 && b.Epoch() > w.epochs.last() {
		w.epochs = append(w.epochs[:len(w.epochs):len(w.epochs)], epochStart{b.Epoch(), w.next})
	}
	if err == nil {
		err = b.fits(w.next, w.epochs)
	}
	if err == nil {
		err = b.Check()
	}
	if err != nil {
		return nil, err
	}
	w.batches++
	w.pos, w.next = w.pos+int64(len(b)), b.Next()
	w.digest.add(b, w.base)
	return b, nil
}

// damaged tells errors of what is on the disk from those of the disk.
func damaged(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrShort) || errors.Is(err, ErrUnsupported)
}

// fits tells whether b may stand where first follows: what its checksum does not
// cover.
func (b Batch) fits(first Offset, e epochs) error {
	if b.First() != first {
		return badBatch("offset")
	}
	if epoch, ok := e.at(first); !ok || epoch != b.Epoch() {
		return badBatch("epoch")
	}
	return nil
}
