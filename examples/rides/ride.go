package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/samsalog/samsa"
)

// The topics: what passengers ask for, and what matching answers.
const (
	requested = "ride_requested"
	matched   = "ride_matched"
)

// identityHeader names the header that carries a ride's identity.
const identityHeader = "ride"

// clock is how times of day are written, in files and in records.
const clock = "2006-01-02 15:04:05"

// Cents is an amount of money; fractions of a dollar do not add up as floats.
type Cents int64

func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s$%s.%02d", sign, thousands(int64(c/100)), c%100)
}

// A Ride is one trip, and as JSON the value of its record. Zones, boroughs and the
// way of payment may be unknown.
type Ride struct {
	Line           int     `json:"-"` // in its file, or its number from the generator
	Pickup         string  `json:"pickup"`
	Dropoff        string  `json:"dropoff"`
	Passengers     int     `json:"passengers"`
	Miles          float64 `json:"miles"`
	Fare           Cents   `json:"fare_cents"`
	Tip            Cents   `json:"tip_cents"`
	Tolls          Cents   `json:"tolls_cents"`
	Total          Cents   `json:"total_cents"`
	Color          string  `json:"color,omitempty"`
	Payment        string  `json:"payment,omitempty"`
	PickupZone     string  `json:"pickup_zone,omitempty"`
	DropoffZone    string  `json:"dropoff_zone,omitempty"`
	PickupBorough  string  `json:"pickup_borough,omitempty"`
	DropoffBorough string  `json:"dropoff_borough,omitempty"`
}

// key is what keeps the rides of a zone in order. Nil, for a ride without a zone,
// lets the record go to any partition.
func (r *Ride) key() []byte {
	if r.PickupZone == "" {
		return nil
	}
	return []byte(r.PickupZone)
}

// record returns the ride as it is sent, the repeat-th time.
func (r *Ride) record(repeat int) (samsa.Record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return samsa.Record{}, fmt.Errorf("ride of line %d: %w", r.Line, err)
	}
	return samsa.Record{
		Topic: requested, Key: r.key(), Value: value,
		Headers: []samsa.Header{{Key: identityHeader, Value: identity{r.Line, repeat}.append(nil)}},
	}, nil
}

// An identity tells one request from all others of a run.
type identity struct{ line, repeat int }

func (id identity) append(buf []byte) []byte {
	buf = strconv.AppendInt(buf, int64(id.line), 10)
	return strconv.AppendInt(append(buf, '/'), int64(id.repeat), 10)
}

func (id identity) String() string { return fmt.Sprintf("line %d, repeat %d", id.line, id.repeat) }

// identityOf reads a record's identity.
func identityOf(rec samsa.Record) (identity, error) {
	for _, h := range rec.Headers {
		if h.Key != identityHeader {
			continue
		}
		line, repeat, _ := strings.Cut(string(h.Value), "/")
		l, err1 := strconv.Atoi(line)
		r, err2 := strconv.Atoi(repeat)
		if err1 != nil || err2 != nil {
			return identity{}, fmt.Errorf("%s/%d, offset %d: %q is no identity", rec.Topic, rec.Partition, rec.Offset, h.Value)
		}
		return identity{l, r}, nil
	}
	return identity{}, fmt.Errorf("%s/%d, offset %d: no header %q", rec.Topic, rec.Partition, rec.Offset, identityHeader)
}

// thousands writes n with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
