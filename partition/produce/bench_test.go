package produce

import (
	"context"
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// nowhere takes everything at once.
type nowhere struct{ next log.Offset }

func (*nowhere) Topic(context.Context, string) (Topic, error) {
	return Topic{ID: partition.UUID{1}, Partitions: 1}, nil
}

func (n *nowhere) Produce(_ context.Context, _ partition.ProduceRequest, b log.Batch) (partition.ProduceResponse, error) {
	first := n.next
	n.next += log.Offset(b.Count())
	return partition.ProduceResponse{First: first}, nil
}

func BenchmarkSend(b *testing.B) {
	p, err := New(Config{}, &nowhere{})
	if err != nil {
		b.Fatal(err)
	}
	rec := Record{Topic: "t", Value: make([]byte, 1024)}
	done := ReceiverFunc(func(Placed, error) {})
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		p.Send(context.Background(), rec, done)
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSendSync(b *testing.B) {
	p, err := New(Config{}, &nowhere{})
	if err != nil {
		b.Fatal(err)
	}
	rec := Record{Topic: "t", Value: make([]byte, 1024)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.SendSync(context.Background(), rec); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
