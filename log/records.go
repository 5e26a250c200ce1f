package log

import "iter"

// Records returns the records of a checked batch in order. Keys and values share
// the memory of b, or that into which a loop inflates a compressed batch, once;
// headers alone are allocated. An error ends the loop; it matches [ErrCorrupt],
// [ErrUnsupported] for a codec that is none of ours, or [ErrTooLarge] for records
// that inflate to more than [MaxInflatedBytes].
func (b Batch) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		rest, err := b.section()
		if err != nil {
			yield(Record{}, err)
			return
		}
		for range b.Count() {
			body, after, ok := cutRecord(rest)
			if !ok {
				yield(Record{}, badBatch("record length"))
				return
			}
			r, ok := parseRecord(body)
			if !ok {
				yield(Record{}, badBatch("record"))
				return
			}
			r.Offset += b.First()
			r.Timestamp += b.BaseTimestamp()
			if b.Attributes()&attrAppendTime != 0 {
				r.Timestamp = b.MaxTimestamp()
			}
			if !yield(r, nil) {
				return
			}
			rest = after
		}
		if len(rest) != 0 {
			yield(Record{}, badBatch("bytes behind the last record"))
		}
	}
}

// section returns the encoded records of a batch. They share its memory unless it
// is compressed. A batch without records has nothing to inflate, whatever its codec.
func (b Batch) section() ([]byte, error) {
	switch {
	case len(b) < BatchOverhead:
		return nil, badBatch("header")
	case b.Count() == 0:
		return b[BatchOverhead:], nil
	}
	return inflate(b.Compression(), b[BatchOverhead:], MaxInflatedBytes)
}

// cutRecord takes one record's body off data.
func cutRecord(data []byte) (body, rest []byte, ok bool) {
	size, n := varint(data)
	if n == 0 || size < 0 || size > int64(len(data)-n) {
		return nil, data, false
	}
	end := n + int(size)
	return data[n:end:end], data[end:], true
}

// parseRecord decodes the body of a record; its offset and time are relative to
// those of the batch.
func parseRecord(body []byte) (r Record, ok bool) {
	p := recordParser{rest: body, ok: len(body) > 0}
	p.skip(1) // attributes: unused
	r.Timestamp = p.varint()
	r.Offset = Offset(p.varint())
	r.Key = p.bytes()
	r.Value = p.bytes()
	if count := p.count(); count > 0 {
		r.Headers = make([]Header, count)
		for i := range r.Headers {
			r.Headers[i] = p.header()
		}
	}
	return r, p.ok && len(p.rest) == 0
}

// checkRecord is parseRecord without the record: no headers are allocated.
func checkRecord(body []byte) (delta int64, ok bool) {
	p := recordParser{rest: body, ok: len(body) > 0 && body[0] == 0}
	p.skip(1)
	p.varint()
	delta = p.varint()
	p.bytes()
	p.bytes()
	for range p.count() {
		if p.bytes() == nil { // a header must have a key
			return 0, false
		}
		p.bytes()
	}
	return delta, p.ok && len(p.rest) == 0
}

// A recordParser eats the body of a record; ok is false from the first misfit
// on, and all that is read then is zero.
type recordParser struct {
	rest []byte
	ok   bool
}

func (p *recordParser) skip(n int) {
	if p.ok = p.ok && len(p.rest) >= n; p.ok {
		p.rest = p.rest[n:]
	}
}

func (p *recordParser) varint() int64 {
	v, n := varint(p.rest)
	if p.ok = p.ok && n > 0; !p.ok {
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

// bytes returns nil for none; empty is not nil.
func (p *recordParser) bytes() []byte {
	size := p.varint()
	if !p.ok || size == -1 {
		return nil
	}
	if p.ok = size >= 0 && size <= int64(len(p.rest)); !p.ok {
		return nil
	}
	b := p.rest[:size:size]
	p.rest = p.rest[size:]
	return b
}

// count reads a number of headers. Each takes two bytes at least, so that a
// false number allocates no more than the record itself.
func (p *recordParser) count() int {
	n := p.varint()
	if p.ok = p.ok && n >= 0 && n <= int64(len(p.rest)/2); !p.ok {
		return 0
	}
	return int(n)
}

func (p *recordParser) header() Header {
	key := p.bytes()
	p.ok = p.ok && key != nil
	return Header{Key: string(key), Value: p.bytes()}
}
