package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tripsHeader = "pickup,dropoff,passengers,distance,fare,tip,tolls,total,color,payment,pickup_zone,dropoff_zone,pickup_borough,dropoff_borough\n"

const twoTrips = tripsHeader +
	"2019-03-23 20:21:09,2019-03-23 20:27:24,1,1.6,7.0,2.15,0.0,12.95,yellow,credit card,Lenox Hill West,UN/Turtle Bay South,Manhattan,Manhattan\n" +
	"2019-03-04 16:11:55,2019-03-04 16:19:00,2,0.79,5.0,0.0,0.0,9.3,green,,,,,\n"

func TestReadsTrips(t *testing.T) {
	want := []Ride{
		{
			Line: 2, Pickup: "2019-03-23 20:21:09", Dropoff: "2019-03-23 20:27:24", Passengers: 1, Miles: 1.6,
			Fare: 700, Tip: 215, Total: 1295, Color: "yellow", Payment: "credit card",
			PickupZone: "Lenox Hill West", DropoffZone: "UN/Turtle Bay South", PickupBorough: "Manhattan", DropoffBorough: "Manhattan",
		},
		{
			Line: 3, Pickup: "2019-03-04 16:11:55", Dropoff: "2019-03-04 16:19:00", Passengers: 2, Miles: 0.79,
			Fare: 500, Total: 930, Color: "green",
		},
	}
	for name, text := range map[string]string{
		"as it is":               twoTrips,
		"of a spreadsheet":       "\xef\xbb\xbf" + strings.ReplaceAll(twoTrips, "\n", "\r\n"),
		"without an end of line": strings.TrimSuffix(twoTrips, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			rides, err := parseTrips("trips.csv", strings.NewReader(text))
			require.NoError(t, err)
			require.Equal(t, want, rides)
		})
	}
	require.Nil(t, want[1].key(), "a ride without a zone has no key")
}

func TestReadsTripsInAnyOrderOfColumns(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(twoTrips) {
		first, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ",")
		b.WriteString("\n" + rest + ",more," + first + "\n") // and blank lines, which count
	}
	text := strings.Replace(b.String(), "more,pickup", "note,pickup", 1)
	rides, err := parseTrips("trips.csv", strings.NewReader(text))
	require.NoError(t, err)
	require.Len(t, rides, 2)
	require.Equal(t, 4, rides[0].Line)
	require.Equal(t, 6, rides[1].Line)
	require.Equal(t, "2019-03-23 20:21:09", rides[0].Pickup)
}

func TestSaysWhereAFileIsWrong(t *testing.T) {
	second := func(old, new string) string {
		at := strings.LastIndex(twoTrips, old)
		return twoTrips[:at] + new + twoTrips[at+len(old):]
	}
	tests := []struct{ name, text, want string }{
		{"nothing at all", "", `t.csv, line 1, column 1: the file is empty`},
		{"no trips", tripsHeader, `t.csv, line 2, column 1: there are no trips`},
		{"another header", "a,b\n1,2\n", `t.csv, line 1, column 1: the header has no column "pickup"`},
		{"a column twice", "pickup,fare,pickup\n", `t.csv, line 1, column 13: the header has the column "pickup" twice`},
		{"a number that is none", second("5.0,0.0", "five,0.0"), `t.csv, line 3, column 48: fare is "five", not a number`},
		{"a number without bounds", second("0.79", "+Inf"), `t.csv, line 3, column 43: distance is "+Inf", not a number`},
		{"an amount beyond reason", second("9.3", "1e300"), `t.csv, line 3, column 60: total is "1e300", not an amount in dollars`},
		{"half a passenger", second(",2,", ",2.5,"), `t.csv, line 3, column 41: passengers is "2.5", not a count`},
		{"a time that is none", second("2019-03-04 16:11:55", "yesterday"), `t.csv, line 3, column 1: pickup is "yesterday", not a time such as 2019-03-23 20:21:09`},
		{"the first of two faults", second("5.0,0.0", "x,y"), `t.csv, line 3, column 48: fare is "x", not a number`},
		{"too few fields", twoTrips + "2019-03-04 16:11:55,1\n", `t.csv, line 4, column 1: wrong number of fields`},
		{"a stray quote", second("green", `gr"een`), `t.csv, line 3, column 66: bare " in non-quoted-field`},
		{"a long field", second("9.3", strings.Repeat("9x", 500)), `t.csv, line 3, column 60: total is "` + strings.Repeat("9x", 20) + `...", not a number`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseTrips("t.csv", strings.NewReader(tt.text))
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestSaysThatAFileIsMissing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none.csv")
	_, err := readTrips(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, name)
}

func TestGeneratesTheSameRidesAgain(t *testing.T) {
	a, b := generate(5000, 7), generate(5000, 7)
	require.Equal(t, a, b)
	require.NotEqual(t, a, generate(5000, 8))
	require.Equal(t, a[:100], generate(100, 7))

	keys, nowhere, unpaid := make(map[string]bool), 0, 0
	for i, r := range a {
		require.Equal(t, i+1, r.Line)
		require.Equal(t, r.Fare+r.Tip+r.Tolls+80, r.Total)
		keys[r.PickupZone] = true
		if r.PickupZone == "" {
			nowhere++
		}
		if r.Payment == "" {
			unpaid++
		}
	}
	require.Greater(t, len(keys), 40)
	require.Positive(t, nowhere)
	require.Positive(t, unpaid)
}
