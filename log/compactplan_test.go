package log

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatMayBeCompacted(t *testing.T) {
	segments := []compactSegment{
		{base: 0, end: 10, size: 100, maxTimestamp: 1000},
		{base: 10, end: 20, size: 100, maxTimestamp: 3000},
		{base: 20, end: 30, size: 100, maxTimestamp: 2000},
		{base: 30, end: 40, size: 100, maxTimestamp: 9000},
	}
	for name, c := range map[string]struct {
		segments []compactSegment
		lag      int64
		upTo     Offset
		want     int
	}{
		"no log":                                {nil, 0, 100, 0},
		"never the active segment":              {segments[:1], 0, 100, 0},
		"all the others":                        {segments, 0, 100, 3},
		"one that ends where the bound is":      {segments, 0, 20, 2},
		"none that goes beyond it":              {segments, 0, 19, 1},
		"one that is as old as the lag":         {segments, 2000, 100, 3},
		"none behind one that is younger":       {segments, 2001, 100, 1},
		"a lag that is longer than time":        {segments, math.MaxInt64, 100, 0},
		"without a lag a time to come is right": {[]compactSegment{{end: 1, maxTimestamp: 6000}, {}}, 0, 100, 1},
	} {
		p := compactPolicy{minLag: c.lag}
		require.Len(t, p.compactable(c.segments, c.upTo, 5000), c.want, name)
	}
}

func TestWhetherAPassPays(t *testing.T) {
	segments := []compactSegment{{base: 0, end: 10, size: 100}, {base: 10, end: 20, size: 50}, {base: 20, end: 30, size: 50}}
	for name, c := range map[string]struct {
		segments []compactSegment
		ratio    float64
		cleanTo  Offset
		horizon  int64
		want     bool
	}{
		"nothing there":                   {nil, 0, 0, 0, false},
		"all of it is new":                {segments, 1, 0, noHorizon, true},
		"half of it is":                   {segments, 0.5, 10, noHorizon, true},
		"less than asked for":             {segments, 0.51, 10, noHorizon, false},
		"a segment in part is as a whole": {segments, 0.5, 19, noHorizon, true},
		"nothing new":                     {segments, 0, 30, noHorizon, false},
		"nothing new, a tombstone due":    {segments, 0.5, 30, 5000, true},
		"nothing new, none due yet":       {segments, 0.5, 30, 5001, false},
	} {
		p := compactPolicy{dirtyRatio: c.ratio}
		require.Equal(t, c.want, p.pays(c.segments, c.cleanTo, c.horizon, 5000), name)
	}
}

func TestNeighboursAreMergedUpToASegment(t *testing.T) {
	sized := func(sizes ...int64) []compactSegment {
		var segments []compactSegment
		for i, size := range sizes {
			segments = append(segments, compactSegment{base: Offset(i) * 10, end: Offset(i+1) * 10, size: size})
		}
		return segments
	}
	for name, c := range map[string]struct {
		segments []compactSegment
		end      Offset
		want     []int // how many are in each group
	}{
		"none":                          {nil, 100, nil},
		"one":                           {sized(5), 100, []int{1}},
		"as many as fit":                {sized(40, 60, 1, 99, 1), 100, []int{2, 2, 1}},
		"one that is too large":         {sized(10, 200, 10, 10), 100, []int{1, 1, 2}},
		"none from the end of a map on": {sized(10, 10, 10), 20, []int{2}},
		"one in which a map ends":       {sized(10, 10, 10), 21, []int{3}},
		"an empty map":                  {sized(10), 0, nil},
		"as far as an index reaches": {[]compactSegment{
			{base: 0, end: 1, size: 1}, {base: 1, end: math.MaxInt32 + 1, size: 1}, {base: math.MaxInt32 + 1, end: math.MaxInt32 + 2, size: 1},
		}, math.MaxInt64, []int{2, 1}},
	} {
		p := compactPolicy{segmentBytes: 100}
		var got []int
		var all []compactSegment
		for _, g := range p.groups(c.segments, c.end) {
			got, all = append(got, len(g)), append(all, g...)
		}
		require.Equal(t, c.want, got, name)
		require.True(t, slices.Equal(c.segments[:len(all)], all), name)
	}
}
