package main

import (
	"math/rand/v2"
	"time"
)

// What a run without a file is made of: the same rides each time.
const (
	generatedRides = 400_000
	generatedSeed  = 2019
)

// A borough of the generator, with its share of the pickups.
type borough struct {
	name  string
	share int // of 100
	zones []string
}

var boroughs = []borough{
	{"Manhattan", 74, []string{
		"Alphabet City", "Battery Park", "Chelsea", "Chinatown", "East Harlem", "Financial District", "Gramercy", "Harlem",
		"Hudson Square", "Inwood", "Kips Bay", "Lenox Hill", "Little Italy", "Lower East Side", "Midtown Center",
		"Midtown East", "Murray Hill", "Penn Station", "SoHo", "Times Square", "TriBeCa", "Upper East Side",
		"Upper West Side", "Washington Heights", "West Village", "Yorkville",
	}},
	{"Queens", 13, []string{
		"Astoria", "Elmhurst", "Flushing", "Forest Hills", "Jackson Heights", "Jamaica", "JFK Airport",
		"LaGuardia Airport", "Long Island City", "Sunnyside",
	}},
	{"Brooklyn", 9, []string{
		"Boerum Hill", "Brooklyn Heights", "Bushwick", "Crown Heights", "Downtown Brooklyn", "Fort Greene", "Park Slope",
		"Williamsburg",
	}},
	{"Bronx", 3, []string{"Fordham", "Highbridge", "Melrose", "Mott Haven", "Norwood"}},
	{"Staten Island", 1, []string{"Saint George", "Stapleton"}},
}

// demand is how many rides begin in each hour of the day, relative to one another.
var demand = [24]int{30, 20, 14, 9, 7, 9, 20, 36, 46, 46, 44, 46, 49, 50, 54, 55, 48, 58, 68, 66, 60, 58, 54, 44}

// generate makes n rides of a month. The same seed makes the same rides.
func generate(n int, seed uint64) []Ride {
	g := &generator{rand.New(rand.NewPCG(seed, 0))}
	rides := make([]Ride, n)
	for i := range rides {
		rides[i] = g.ride()
		rides[i].Line = i + 1
	}
	return rides
}

type generator struct{ *rand.Rand }

func (g *generator) ride() Ride {
	month := time.Date(2019, time.March, 1, 0, 0, 0, 0, time.UTC)
	pickup := month.AddDate(0, 0, g.IntN(31)).Add(time.Duration(g.hour())*time.Hour + time.Duration(g.IntN(3600))*time.Second)
	miles := float64(int((0.4+g.ExpFloat64()*2.6)*100)) / 100
	r := Ride{
		Pickup:     pickup.Format(clock),
		Dropoff:    pickup.Add(time.Duration(120+miles*300) * time.Second).Format(clock),
		Passengers: 1 + max(0, g.IntN(9)-5), Miles: miles,
		Fare:  Cents(250 + miles*250),
		Color: "yellow", Payment: "cash",
	}
	if g.IntN(100) < 15 {
		r.Color = "green"
	}
	if miles > 8 && g.IntN(3) == 0 {
		r.Tolls = 576
	}
	switch n := g.IntN(1000); {
	case n < 7:
		r.Payment = ""
	case n < 720:
		r.Payment, r.Tip = "credit card", r.Fare*Cents(g.IntN(26))/100
	}
	r.Total = r.Fare + r.Tip + r.Tolls + 80 // and the surcharges
	if g.IntN(1000) >= 4 {                  // now and then a pickup is nowhere that has a name
		r.PickupBorough, r.PickupZone = g.zone()
	}
	if g.IntN(1000) >= 7 {
		r.DropoffBorough, r.DropoffZone = g.zone()
	}
	return r
}

func (g *generator) hour() int {
	sum := 0
	for _, d := range demand {
		sum += d
	}
	at := g.IntN(sum)
	for hour, d := range demand {
		if at -= d; at < 0 {
			return hour
		}
	}
	return 0
}

func (g *generator) zone() (in, zone string) {
	at := g.IntN(100)
	for _, b := range boroughs {
		if at -= b.share; at < 0 {
			return b.name, b.zones[g.IntN(len(b.zones))]
		}
	}
	return "", ""
}
