package group

import "github.com/samsalog/samsa/transport/wire"

func encodeStrings(w *wire.Writer, all []string) {
	w.Count(len(all))
	for _, s := range all {
		w.String(s)
	}
}

func decodeStrings(r *wire.Reader, limit int) []string {
	return wire.List(r, limit, 1, func() string { return r.String(maxName) })
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
