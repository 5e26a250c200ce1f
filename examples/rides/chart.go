package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// A revenue is what analytics adds up: by borough, by hour of the day.
type revenue map[string]*[24]Cents

func (r revenue) add(borough string, hour int, total Cents) {
	day, ok := r[borough]
	if !ok {
		day = new([24]Cents)
		r[borough] = day
	}
	day[hour] += total
}

func (r revenue) total() (sum Cents) {
	for borough := range r {
		sum += r.of(borough)
	}
	return sum
}

func (r revenue) of(borough string) (sum Cents) {
	for _, c := range r[borough] {
		sum += c
	}
	return sum
}

// The chart is at most 80 columns wide: a name, two columns an hour, an amount.
const (
	nameWidth = 14
	chartRows = 8
)

var bars = []rune("▁▂▃▄▅▆▇█")

// chart draws the revenue, the boroughs with most of it first.
func (r revenue) chart(w io.Writer) {
	names := make([]string, 0, len(r))
	for name := range r {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(r.of(b), r.of(a)), cmp.Compare(a, b)) })
	fmt.Fprintln(w, "Revenue by borough and hour of the pickup; each row has a scale of its own")
	fmt.Fprintf(w, "%-*s", nameWidth, "")
	for hour := 0; hour < 24; hour += 3 {
		fmt.Fprintf(w, "%-6s", fmt.Sprintf("%02d", hour))
	}
	fmt.Fprintln(w)
	for i, name := range names {
		if i == chartRows {
			fmt.Fprintf(w, "and %d more\n", len(names)-chartRows)
			break
		}
		fmt.Fprintf(w, "%s%s %16v\n", label(name), row(r[name]), r.of(name))
	}
}

// label cuts or fills a name to its column, without what a terminal might obey.
func label(name string) string {
	if name == "" {
		name = "unknown"
	}
	runes := []rune(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, name))
	if len(runes) >= nameWidth {
		runes = append(runes[:nameWidth-2], '…')
	}
	return string(runes) + strings.Repeat(" ", nameWidth-len(runes))
}

// row draws a day: an hour without revenue is blank, the best one a full block.
func row(day *[24]Cents) string {
	top := max(slices.Max(day[:]), 1)
	var b strings.Builder
	for _, c := range day {
		bar := ' '
		if c > 0 {
			bar = bars[int(c*Cents(len(bars))-1)/int(top)]
		}
		b.WriteRune(bar)
		b.WriteRune(bar)
	}
	return b.String()
}
