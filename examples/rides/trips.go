package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"
)

// The columns of a file of trips. All are needed, in any order; others are skipped.
var columns = []string{
	"pickup", "dropoff", "passengers", "distance", "fare", "tip", "tolls", "total", "color", "payment",
	"pickup_zone", "dropoff_zone", "pickup_borough", "dropoff_borough",
}

// A TripError says where in a file of trips something is wrong. Line and column
// count from 1; a column is one of bytes.
type TripError struct {
	File         string
	Line, Column int
	Err          error
}

func (e *TripError) Error() string {
	return fmt.Sprintf("%s, line %d, column %d: %v", e.File, e.Line, e.Column, e.Err)
}

func (e *TripError) Unwrap() error { return e.Err }

// readTrips reads a file of trips, a line each behind a line with the columns' names.
func readTrips(name string) ([]Ride, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTrips(name, f)
}

func parseTrips(name string, in io.Reader) ([]Ride, error) {
	buffered := bufio.NewReaderSize(in, 1<<16)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(len(mark)) // spreadsheets begin UTF-8 files so
	}
	t := &tripReader{name: name, csv: csv.NewReader(buffered)}
	t.csv.ReuseRecord = true
	if err := t.header(); err != nil {
		return nil, err
	}
	var rides []Ride
	for {
		fields, err := t.csv.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, t.wrap(err)
		}
		ride, err := t.ride(fields)
		if err != nil {
			return nil, err
		}
		rides = append(rides, ride)
	}
	if len(rides) == 0 {
		return nil, &TripError{name, 2, 1, errors.New("there are no trips")}
	}
	return rides, nil
}

// A tripReader reads one file. The first misfit of a line stays in err.
type tripReader struct {
	name   string
	csv    *csv.Reader
	place  map[string]int // which field has that column
	fields []string
	err    error
}

func (t *tripReader) header() error {
	names, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return &TripError{t.name, 1, 1, errors.New("the file is empty")}
	}
	if err != nil {
		return t.wrap(err)
	}
	t.place = make(map[string]int)
	for i, name := range names {
		if _, twice := t.place[name]; twice {
			return t.at(i, fmt.Errorf("the header has the column %q twice", excerpt(name)))
		}
		t.place[name] = i
	}
	for _, want := range columns {
		if _, ok := t.place[want]; !ok {
			return t.at(0, fmt.Errorf("the header has no column %q", want))
		}
	}
	return nil
}

func (t *tripReader) ride(fields []string) (Ride, error) {
	t.fields, t.err = fields, nil
	line, _ := t.csv.FieldPos(0)
	r := Ride{
		Line:   line,
		Pickup: t.time("pickup"), Dropoff: t.time("dropoff"),
		Passengers: t.count("passengers"), Miles: t.number("distance"),
		Fare: t.money("fare"), Tip: t.money("tip"), Tolls: t.money("tolls"), Total: t.money("total"),
		Color: t.text("color"), Payment: t.text("payment"),
		PickupZone: t.text("pickup_zone"), DropoffZone: t.text("dropoff_zone"),
		PickupBorough: t.text("pickup_borough"), DropoffBorough: t.text("dropoff_borough"),
	}
	return r, t.err
}

// text copies: the reader's fields of one line share their memory.
func (t *tripReader) text(column string) string { return string([]byte(t.fields[t.place[column]])) }

func (t *tripReader) time(column string) string {
	s := t.text(column)
	if _, err := time.Parse(clock, s); err != nil {
		t.misfit(column, "a time such as 2019-03-23 20:21:09")
	}
	return s
}

func (t *tripReader) count(column string) int {
	n, err := strconv.Atoi(t.fields[t.place[column]])
	if err != nil || n < 0 {
		t.misfit(column, "a count")
	}
	return n
}

func (t *tripReader) number(column string) float64 {
	f, err := strconv.ParseFloat(t.fields[t.place[column]], 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		t.misfit(column, "a number")
		return 0
	}
	return f
}

func (t *tripReader) money(column string) Cents {
	f := t.number(column)
	if math.Abs(f) > 1e9 {
		t.misfit(column, "an amount in dollars")
		return 0
	}
	return Cents(math.Round(f * 100))
}

// misfit notes that a column holds something else than it should.
func (t *tripReader) misfit(column, want string) {
	if t.err == nil {
		i := t.place[column]
		t.err = t.at(i, fmt.Errorf("%s is %q, not %s", column, excerpt(t.fields[i]), want))
	}
}

// excerpt keeps an error on one line of a terminal.
func excerpt(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

func (t *tripReader) at(field int, err error) error {
	line, column := t.csv.FieldPos(field)
	return &TripError{t.name, line, column, err}
}

// wrap gives an error of the CSV format its place in the file.
func (t *tripReader) wrap(err error) error {
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		return &TripError{t.name, bad.Line, bad.Column, bad.Err}
	}
	return err // of the file itself, which has its name
}
