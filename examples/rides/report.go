package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/samsalog/samsa"
)

// A report is what a run came to, and as JSON what -json prints.
type report struct {
	Sent             int64          `json:"sent"`
	Acked            int64          `json:"acked"`
	Failed           int64          `json:"failed"`  // certainly not in the log
	Unknown          int64          `json:"unknown"` // in the log or not
	Seconds          float64        `json:"seconds"` // from the first request to the last acknowledgement
	RecordsPerSecond float64        `json:"records_per_second"`
	TotalSeconds     float64        `json:"total_seconds"`
	FailoverMS       *float64       `json:"failover_ms"` // null if the partition was not in use then
	KilledBroker     samsa.BrokerID `json:"killed_broker"`
	EpochBefore      samsa.Epoch    `json:"epoch_before"`
	EpochAfter       samsa.Epoch    `json:"epoch_after"`
	Brokers          int            `json:"brokers"`
	Partitions       int            `json:"partitions"`
	Groups           []groupReport  `json:"groups"`
	Matched          int64          `json:"matched"`       // answers of matching, acknowledged
	PaidCents        Cents          `json:"paid_cents"`    // by payment
	RevenueCents     Cents          `json:"revenue_cents"` // of analytics
	Problems         []string       `json:"problems,omitempty"`

	revenue revenue
}

type groupReport struct {
	Group      string `json:"group"`
	Consumed   int    `json:"consumed"` // deliveries, repeated ones too
	Lost       int    `json:"lost"`
	Repeated   int    `json:"repeated"`
	OutOfOrder int    `json:"out_of_order"`
	Lag        int64  `json:"lag"` // not committed at the end
}

// problem notes what is not as it should be.
func (r *report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// sound says that all went as it should: all that was sent was acknowledged, and
// all of that reached every group, in order.
func (r *report) sound() bool {
	for _, g := range r.Groups {
		if g.Lost > 0 || g.OutOfOrder > 0 {
			return false
		}
	}
	return r.Acked == r.Sent && len(r.Problems) == 0
}

func (r *report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *report) writeTable(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-22s%s\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteByte('\n')
	line("rides sent", "%s", thousands(r.Sent))
	line("acknowledged", "%s, in %.2f s", thousands(r.Acked), r.Seconds)
	if r.Failed > 0 || r.Unknown > 0 {
		line("not acknowledged", "%s failed, %s of unknown outcome", thousands(r.Failed), thousands(r.Unknown))
	}
	line("records a second", "%s", thousands(int64(r.RecordsPerSecond)))
	line("broker killed", "%d; partition %d went from epoch %d to %d", r.KilledBroker, watchedPartition, r.EpochBefore, r.EpochAfter)
	if r.FailoverMS != nil {
		line("time without a leader", "%.1f ms", *r.FailoverMS)
	} else {
		line("time without a leader", "not measured: partition %d was not in use", watchedPartition)
	}
	line("rides matched", "%s", thousands(r.Matched))
	line("money taken", "%v", r.PaidCents)
	fmt.Fprintf(&b, "\n%-14s%12s%10s%10s%14s%10s\n", "group", "consumed", "lost", "repeated", "out of order", "lag")
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "%-14s%12s%10s%10s%14s%10s\n", g.Group, thousands(int64(g.Consumed)), thousands(int64(g.Lost)),
			thousands(int64(g.Repeated)), thousands(int64(g.OutOfOrder)), thousands(g.Lag))
	}
	b.WriteByte('\n')
	r.revenue.chart(&b)
	_, err := io.WriteString(w, b.String())
	return err
}
