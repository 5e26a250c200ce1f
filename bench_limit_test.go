package samsa_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
)

// A limit is what three brokers are held against: the same bytes, copied into batches
// with a checksum, which each of three writers checks before it writes, and group
// commit. There is no protocol: nobody asks, nothing is numbered, and nobody could
// take over.
type limit struct{ parts []*limitPart }

// A limitPart is one partition. A batch leaves when none is on its way, or when it is
// full.
type limitPart struct {
	files   [3]log.File
	queues  [3]chan *limitBatch
	synced  bool
	writers sync.WaitGroup

	mu      sync.Mutex // guards all below
	landing sync.Cond
	open    *limitBatch
	flights int
	end     int64 // of the files
}

// A limitBatch is answered by the last of its writers.
type limitBatch struct {
	buf  []byte
	pos  int64
	left atomic.Int32
	tell []func(samsa.Record, error)
}

const (
	limitHead    = 4  // the checksum
	limitFrame   = 12 // of a record beside its value
	limitBytes   = 64 << 10
	limitFlights = 32 // of one partition
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	limitBatches = sync.Pool{New: func() any { return new(limitBatch) }}
)

func newLimit(fsys log.FS, dir string, partitions int, synced bool) (*limit, error) {
	l := &limit{}
	for n := range partitions {
		p := &limitPart{synced: synced}
		p.landing.L = &p.mu
		l.parts = append(l.parts, p)
		for i := range p.files {
			f, err := fsys.Create(filepath.Join(dir, fmt.Sprintf("limit-%d-%d", n, i)))
			if err != nil {
				return nil, errors.Join(err, l.close())
			}
			p.files[i], p.queues[i] = f, make(chan *limitBatch, 2*limitFlights)
			p.writers.Go(func() { p.run(i) })
		}
	}
	return l, nil
}

// close drops the bytes, so that none is written back while something else is timed.
func (l *limit) close() error {
	var errs []error
	for _, p := range l.parts {
		for i, f := range p.files {
			if f != nil {
				close(p.queues[i])
				errs = append(errs, f.Truncate(0))
			}
		}
		p.writers.Wait()
		for _, f := range p.files {
			if f != nil {
				errs = append(errs, f.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// send has done called, by anybody, once three have the record. A caller who will
// wait for that writes the first copy itself, if its batch leaves at once.
func (p *limitPart) send(value []byte, waits bool, done func(samsa.Record, error)) {
	p.mu.Lock()
	if p.open == nil {
		p.open = limitBatches.Get().(*limitBatch)
		p.open.buf = append(p.open.buf[:0], make([]byte, limitHead)...)
	}
	b := p.open
	b.buf = append(append(b.buf, make([]byte, limitFrame)...), value...)
	b.tell = append(b.tell, done)
	full := len(b.buf) >= limitBytes
	for full && p.flights == limitFlights {
		p.landing.Wait()
	}
	leaves := p.open == b && (full || p.flights == 0)
	if leaves {
		p.take()
	}
	p.mu.Unlock()
	if leaves {
		p.start(b, waits)
	}
}

// take makes the open batch one on its way; p.mu is held.
func (p *limitPart) take() *limitBatch {
	b := p.open
	p.open = nil
	p.flights++
	b.pos = p.end
	p.end += int64(len(b.buf))
	return b
}

func (p *limitPart) start(b *limitBatch, inline bool) {
	b.left.Store(int32(len(p.files)))
	binary.BigEndian.PutUint32(b.buf, crc32.Checksum(b.buf[limitHead:], castagnoli))
	for i := len(p.queues) - 1; i >= 0; i-- {
		if i > 0 || !inline {
			p.queues[i] <- b
		}
	}
	if inline {
		p.write(0, []*limitBatch{b})
	}
}

// run writes what has come together, and syncs it once.
func (p *limitPart) run(i int) {
	var group []*limitBatch
	for b := range p.queues[i] {
		group = append(group[:0], b)
		for range len(p.queues[i]) {
			group = append(group, <-p.queues[i])
		}
		p.write(i, group)
	}
}

func (p *limitPart) write(i int, group []*limitBatch) {
	for _, b := range group {
		if binary.BigEndian.Uint32(b.buf) != crc32.Checksum(b.buf[limitHead:], castagnoli) {
			panic("a batch of the limit is damaged")
		}
		if _, err := p.files[i].WriteAt(b.buf, b.pos); err != nil {
			panic(err)
		}
	}
	if p.synced {
		if err := p.files[i].Sync(); err != nil {
			panic(err)
		}
	}
	for _, b := range group {
		if b.left.Add(-1) == 0 {
			p.land(b)
		}
	}
}

// land answers those who sent a batch, and sends on who came meanwhile.
func (p *limitPart) land(b *limitBatch) {
	p.mu.Lock()
	p.flights--
	var next *limitBatch
	if p.flights == 0 && p.open != nil {
		next = p.take()
	}
	p.landing.Broadcast()
	p.mu.Unlock()
	if next != nil {
		p.start(next, false)
	}
	for _, done := range b.tell {
		done(samsa.Record{}, nil)
	}
	clear(b.tell)
	b.tell = b.tell[:0]
	limitBatches.Put(b)
}
