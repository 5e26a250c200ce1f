package group

import (
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

func encodeID(w *wire.Writer, id partition.ID) {
	w.ID(id.Topic)
	w.Int32(int32(id.Partition))
}

func decodeID(r *wire.Reader) partition.ID {
	return partition.ID{Topic: r.ID(), Partition: partition.PartitionID(r.Int32())}
}

func encodeIDs(w *wire.Writer, ids []partition.ID) {
	w.Count(len(ids))
	for _, id := range ids {
		encodeID(w, id)
	}
}

func decodeIDs(r *wire.Reader) []partition.ID {
	return list(r, maxList, 20, func() partition.ID { return decodeID(r) })
}

func encodeStrings(w *wire.Writer, all []string) {
	w.Count(len(all))
	for _, s := range all {
		w.String(s)
	}
}

func decodeStrings(r *wire.Reader, limit int) []string {
	return list(r, limit, 1, func() string { return r.String(maxName) })
}

// list takes a count and that many elements of at least least bytes; nil for none.
func list[T any](r *wire.Reader, limit, least int, one func() T) []T {
	n := r.Count(limit, least)
	if n == 0 {
		return nil
	}
	all := make([]T, 0, n)
	for range n {
		all = append(all, one())
		if r.Err() != nil {
			return nil
		}
	}
	return all
}

// optional tells a list that was given and is empty from one that was not given.
func optional[T any](given bool, all []T) []T {
	if !given {
		return nil
	}
	if all == nil {
		return []T{}
	}
	return all
}
