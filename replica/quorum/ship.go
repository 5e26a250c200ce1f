package quorum

import (
	"errors"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A leader announces a snapshot by index and term, in raft's own message. The
// receiver fetches the state piece by piece, and only then hands raft the message.

// A chunk asks for a piece of a snapshot.
type chunk struct {
	cluster partition.UUID
	mark    mark
	from    uint64 // who asks, as raft names it
	at      int64
}

// A piece is a part of a snapshot's payload.
type piece struct {
	total int64  // 0: there is no such snapshot any more
	sum   uint64 // of the whole payload
	data  []byte
}

func encodeChunk(c chunk) []byte {
	w := envelope(kindChunk)
	w.ID(c.cluster)
	w.Int64(int64(c.mark.index))
	w.Int64(int64(c.mark.term))
	w.Int64(int64(c.from))
	w.Int64(c.at)
	return w.Bytes()
}

func decodeChunk(body []byte) (chunk, error) {
	r := wire.NewReader(body)
	c := chunk{cluster: r.ID(), mark: mark{uint64(r.Int64()), uint64(r.Int64())}, from: uint64(r.Int64()), at: r.Int64()}
	if err := r.Done(); err != nil || c.at < 0 {
		return chunk{}, malformed(err)
	}
	return c, nil
}

func encodePiece(p piece) []byte {
	w := envelope(kindPiece)
	w.Int64(p.total)
	w.Int64(int64(p.sum))
	w.Blob(p.data)
	return w.Bytes()
}

func decodePiece(body []byte) (piece, error) {
	r := wire.NewReader(body)
	p := piece{total: r.Int64(), sum: uint64(r.Int64()), data: r.Blob(pieceSize)}
	if err := r.Done(); err != nil || p.total < 0 || p.total > maxSnapshot+1<<16 {
		return piece{}, malformed(err)
	}
	return p, nil
}

// A failure says that an announced snapshot cannot be had.
type failure struct {
	cluster partition.UUID
	to      uint64
	from    uint64
}

func encodeFailure(f failure) []byte {
	w := envelope(kindFailure)
	w.ID(f.cluster)
	w.Int64(int64(f.to))
	w.Int64(int64(f.from))
	return w.Bytes()
}

func decodeFailure(body []byte) (failure, error) {
	r := wire.NewReader(body)
	f := failure{cluster: r.ID(), to: uint64(r.Int64()), from: uint64(r.Int64())}
	if err := r.Done(); err != nil {
		return failure{}, malformed(err)
	}
	return f, nil
}

// A shipment is a snapshot on its way from this leader. Raft waits for it, and must
// be told if it comes to nothing.
type shipment struct {
	to    uint64
	ticks int // since anything was heard of it
}

// ship notes that a snapshot has been announced.
func (e *Engine) ship(to uint64) {
	e.landed(to)
	e.shipments = append(e.shipments, shipment{to: to})
}

// landed forgets a shipment, if there is one.
func (e *Engine) landed(to uint64) bool {
	n := len(e.shipments)
	e.shipments = slices.DeleteFunc(e.shipments, func(s shipment) bool { return s.to == to })
	return len(e.shipments) < n
}

// lose tells raft that a shipment came to nothing.
func (e *Engine) lose(to uint64) {
	if e.landed(to) && e.works() {
		e.fail(e.node.shipFailed(to))
	}
}

// watchShipments gives up those of which nothing was heard for as long as an
// election may take: the receiver died, or its answer was lost.
func (e *Engine) watchShipments() {
	for _, s := range slices.Clone(e.shipments) {
		if s.ticks >= 2*e.cfg.ElectionTicks {
			e.lose(s.to)
		}
	}
	for i := range e.shipments {
		e.shipments[i].ticks++
	}
	if e.unserved++; e.unserved > 4*e.cfg.ElectionTicks {
		e.disk.served = served{}
	}
}

// serveChunk answers a chunk.
func (e *Engine) serveChunk(body []byte) ([]byte, error) {
	c, err := decodeChunk(body)
	if err != nil {
		return nil, err
	}
	if e.err != nil || c.cluster != e.status.Cluster || !e.status.formed() {
		return encodePiece(piece{}), e.err
	}
	snap, err := e.disk.serve(c.mark)
	if e.fail(err) {
		return nil, err
	}
	total := int64(len(snap.payload))
	if c.at > total {
		return encodePiece(piece{}), nil
	}
	e.unserved = 0
	for i := range e.shipments {
		if e.shipments[i].to == c.from {
			e.shipments[i].ticks = 0
		}
	}
	end := min(total, c.at+pieceSize)
	return encodePiece(piece{total, snap.sum, snap.payload[c.at:end]}), nil
}

// serveFailure takes the word that a snapshot did not arrive.
func (e *Engine) serveFailure(body []byte) ([]byte, error) {
	f, err := decodeFailure(body)
	if err != nil {
		return nil, err
	}
	if f.cluster != e.status.Cluster || f.to != e.me {
		return encodeReceipt(refused), nil
	}
	e.lose(f.from)
	return encodeReceipt(taken), e.err
}

// A pull is a snapshot on its way to this member.
type pull struct {
	mark
	from Member      // who has it
	msg  *pb.Message // to be handed to raft then; nil: it is an observer who wants it
	data []byte
}

// pull begins to fetch a snapshot, in place of another. One under way goes on.
func (e *Engine) pullSnapshot(p pull) {
	if now := e.pulling; now != nil && now.mark == p.mark && now.from == p.from {
		now.msg = p.msg // the newest of its kind
		return
	}
	if p.msg != nil && e.tickNo < e.notBefore {
		return // there was no room; the leader announces it again when it has heard nothing
	}
	e.pulling = &p
	e.askPiece()
}

func (e *Engine) askPiece() {
	p := e.pulling
	c := chunk{cluster: e.status.Cluster, mark: p.mark, from: e.me, at: int64(len(p.data))}
	sent := e.host.Send(Message{To: p.from.ID, Addr: p.from.Addr, kind: kindChunk, mark: p.mark, at: c.at, body: encodeChunk(c)})
	if !sent {
		e.dropPull()
	}
}

// dropPull gives a snapshot up; who announced it is told.
func (e *Engine) dropPull() {
	p := e.pulling
	e.pulling = nil
	if p.msg != nil {
		f := failure{cluster: e.status.Cluster, to: p.msg.GetFrom(), from: e.me}
		e.host.Send(Message{To: p.from.ID, Addr: p.from.Addr, kind: kindFailure, body: encodeFailure(f)})
		return
	}
	e.nextSource()
}

// gotPiece takes the answer to a chunk.
func (e *Engine) gotPiece(m Message, answer []byte, err error) {
	p := e.pulling
	if p == nil || p.mark != m.mark || p.from.ID != m.To || int64(len(p.data)) != m.at {
		return // of an earlier pull
	}
	got, err := readAnswer(kindPiece, answer, err, decodePiece)
	if err != nil || got.total <= int64(len(p.data)) || len(got.data) == 0 {
		e.dropPull()
		return
	}
	p.data = append(p.data, got.data...)
	if int64(len(p.data)) < got.total {
		e.askPiece()
		return
	}
	snap, err := decodeSnapshot(p.data)
	if xxhash.Sum64(p.data) != got.sum || err != nil || snap.mark != p.mark || snap.cluster != e.status.Cluster {
		e.cfg.Logger.Warn("snapshot did not arrive whole", "from", p.from.ID, "index", p.index, "error", err)
		e.dropPull()
		return
	}
	if p.msg == nil {
		e.pulling = nil
		e.observed(snap)
		return
	}
	if err := e.disk.stage(snap); err != nil {
		if e.disk.err != nil {
			e.fail(e.disk.err)
			return
		}
		e.notBefore = e.tickNo + retryTicks
		e.cfg.Logger.Warn("no room for the snapshot of the metadata from another", "from", p.from.ID, "index", p.index, "error", err)
		e.dropPull()
		return
	}
	e.pulling = nil
	p.msg.Snapshot = snap.metadata() // the voters as the snapshot itself has them
	e.arrived = snap
	e.fail(e.node.step(p.msg))
}

// errNotArrived: raft goes on from a snapshot that nobody gave to it.
var errNotArrived = errors.New("quorum: snapshot has not arrived")

// takeArrived returns the snapshot that raft goes on from; nil: it does not, and has no
// use for one that has arrived.
func (e *Engine) takeArrived(announced *pb.Snapshot) (*snapshot, error) {
	snap, meta := e.arrived, announced.GetMetadata()
	e.arrived = snapshot{}
	if meta.GetIndex() == 0 {
		_ = e.disk.unstage() // the next start would
		return nil, e.disk.err
	}
	if snap.mark != (mark{meta.GetIndex(), meta.GetTerm()}) {
		return nil, errNotArrived
	}
	return &snap, nil
}

// malformed is the error for a message that does not parse, or says what cannot be.
func malformed(err error) error {
	if err == nil {
		return errMalformed
	}
	return errors.Join(errMalformed, err)
}

// readAnswer decodes an answer of that kind.
func readAnswer[T any](kind uint8, answer []byte, err error, decode func([]byte) (T, error)) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	is, body, err := openEnvelope(answer)
	if err != nil {
		return none, err
	}
	if is != kind {
		return none, errMalformed
	}
	return decode(body)
}
