package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// whole is a story that ends well, in JSON.
type whole struct {
	Sent             *int     `json:"sent"`
	Acked            *int     `json:"acked"`
	Seconds          *float64 `json:"seconds"`
	RecordsPerSecond *float64 `json:"records_per_second"`
	FailoverMS       *float64 `json:"failover_ms"`
	KilledBroker     *int     `json:"killed_broker"`
	EpochBefore      *int     `json:"epoch_before"`
	EpochAfter       *int     `json:"epoch_after"`
	Brokers          *int     `json:"brokers"`
	Partitions       *int     `json:"partitions"`
	Groups           []struct {
		Group      *string `json:"group"`
		Consumed   *int    `json:"consumed"`
		Lost       *int    `json:"lost"`
		Repeated   *int    `json:"repeated"`
		OutOfOrder *int    `json:"out_of_order"`
		Lag        int     `json:"lag"`
	} `json:"groups"`
	Matched int   `json:"matched"`
	Paid    Cents `json:"paid_cents"`
	Revenue Cents `json:"revenue_cents"`
}

func TestTellsTheStory(t *testing.T) {
	const rides, repeat = 1500, 2
	dir := filepath.Join(t.TempDir(), "data")
	var stdout, stderr bytes.Buffer
	status := play(t.Context(), options{rides: rides, repeat: repeat, json: true, dir: dir}, &stdout, &stderr)
	require.Equal(t, statusOK, status, "%s", &stderr)

	var got whole
	in := json.NewDecoder(&stdout)
	require.NoError(t, in.Decode(&got))
	require.False(t, in.More(), "one object and nothing else")
	require.Equal(t, rides*repeat, *got.Sent)
	require.Equal(t, rides*repeat, *got.Acked)
	require.Positive(t, *got.Seconds)
	require.Positive(t, *got.RecordsPerSecond)
	require.Positive(t, *got.FailoverMS)
	require.Contains(t, []int{1, 2, 3}, *got.KilledBroker)
	require.Greater(t, *got.EpochAfter, *got.EpochBefore)
	require.Equal(t, 3, *got.Brokers)
	require.Equal(t, 6, *got.Partitions)
	require.Equal(t, rides*repeat, got.Matched)

	var total Cents
	for _, r := range generate(rides, generatedSeed) {
		total += repeat * r.Total
	}
	require.Equal(t, total, got.Paid)
	require.Equal(t, total, got.Revenue)
	var groups []string
	for _, g := range got.Groups {
		groups = append(groups, *g.Group)
		require.Zero(t, *g.Lost)
		require.Zero(t, *g.OutOfOrder)
		require.Zero(t, g.Lag, "all was committed")
		require.Equal(t, rides*repeat, *g.Consumed-*g.Repeated)
	}
	require.Equal(t, []string{"matching", "payment", "notification", "analytics"}, groups)

	// What is there now would be mixed up with another run's.
	stdout.Reset()
	stderr.Reset()
	require.Equal(t, statusUsage, play(t.Context(), options{rides: rides, repeat: 1, dir: dir}, &stdout, &stderr))
	require.Equal(t, "rides: "+filepath.Join(dir, "1")+" holds the data of an earlier run: remove it, or give another -dir\n", stderr.String())
	require.Empty(t, stdout.String())
}

func TestTellsAShortStory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trips.csv")
	require.NoError(t, os.WriteFile(name, []byte(twoTrips), 0o600))
	var stdout, stderr bytes.Buffer
	require.Equal(t, statusOK, run(t.Context(), []string{"-trips", name}, &stdout, &stderr), "%s", &stderr)
	require.Contains(t, stdout.String(), "\nmatching                 2         0         0             0         0\n")
	require.Contains(t, stdout.String(), "\nManhattan     ")
	require.Contains(t, stderr.String(), "\n100 %  2 of 2 rides, ")
	require.NotContains(t, stderr.String(), "\x1b")
}

func TestStopsWhenInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout bytes.Buffer
	stderr := &trigger{text: "is dead", pull: interrupt}
	status := play(ctx, options{rides: 20_000, repeat: 1, json: true}, &stdout, stderr)
	require.Equal(t, statusInterrupted, status)
	require.Empty(t, stdout.String())
	require.Contains(t, stderr.String(), "rides: interrupted; ")
	require.NotContains(t, stderr.String(), "notification comes up")
}

// A trigger is pulled when a text is written.
type trigger struct {
	text string
	pull func()

	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (t *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), t.text) {
		t.pull()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *trigger) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

func TestSaysWhyItCannotBegin(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	bad := file("bad.csv", strings.Replace(twoTrips, "1.6", "far", 1))
	good := file("good.csv", twoTrips)
	none := filepath.Join(dir, "none.csv")
	tests := []struct {
		name string
		args []string
		want string // on standard error
	}{
		{"a missing file", []string{"-trips", none}, "rides: open " + none + ": no such file or directory\n"},
		{"a bad file", []string{"-json", "-trips", bad}, "rides: " + bad + `, line 2, column 43: distance is "far", not a number` + "\n"},
		{"a repeat of none", []string{"-repeat", "0"}, "rides: -repeat is 0; it must be at least 1\n"},
		{"too many", []string{"-trips", good, "-repeat", "60000000"}, "rides: -repeat is 60000000: 2 trips can be sent 50,000,000 times at most\n"},
		{"an argument", []string{"trips.csv"}, "rides: there is no argument \"trips.csv\"; see -help\n"},
		{"a directory that is a file", []string{"-trips", good, "-dir", good}, "rides: mkdir " + good + ": not a directory\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, statusUsage, run(t.Context(), tt.args, &stdout, &stderr))
			require.Equal(t, tt.want, stderr.String())
			require.Empty(t, stdout.String())
		})
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, statusUsage, run(t.Context(), []string{"-unknown"}, &stdout, &stderr))
	require.Equal(t, statusOK, run(t.Context(), []string{"-help"}, &stdout, &stderr))
	require.Empty(t, stdout.String())
}

func TestReportIsSoundOrNot(t *testing.T) {
	good := func() *report {
		return &report{Sent: 9, Acked: 9, Groups: []groupReport{{Group: "payment", Consumed: 11, Repeated: 2, Lag: 3}, {Group: "analytics"}}}
	}
	var stdout, stderr bytes.Buffer
	require.True(t, good().sound())
	require.Equal(t, statusOK, conclude(good(), true, &stdout, &stderr))
	require.Empty(t, stderr.String())
	require.Equal(t, statusBad, conclude(good(), false, broken{}, &stderr))
	require.Equal(t, "rides: broken pipe\n", stderr.String())
	for name, spoil := range map[string]func(*report){
		"lost":             func(r *report) { r.Groups[1].Lost = 1 },
		"out of order":     func(r *report) { r.Groups[0].OutOfOrder = 1 },
		"not acknowledged": func(r *report) { r.Acked = 8 },
		"a problem":        func(r *report) { r.problem("the moon is full") },
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			spoil(r)
			require.False(t, r.sound())
			var stdout, stderr bytes.Buffer
			require.Equal(t, statusBad, conclude(r, true, &stdout, &stderr))
			require.Contains(t, stdout.String(), `"group": "payment"`, "it is printed all the same")
		})
	}
}

func TestReportsAsATable(t *testing.T) {
	ms := 123.45
	r := &report{
		Sent: 1_234_567, Acked: 1_234_565, Failed: 1, Unknown: 1, Seconds: 2.5, RecordsPerSecond: 493_826.4, FailoverMS: &ms,
		KilledBroker: 2, EpochBefore: 3, EpochAfter: 4, Matched: 12, PaidCents: 123_456_789,
		Groups:  []groupReport{{Group: "notification", Consumed: 1_234_567, Lost: 1, Repeated: 2, OutOfOrder: 3, Lag: 4}},
		revenue: make(revenue),
	}
	r.revenue.add("Queens", 13, 5000)
	r.revenue.add("", 0, 12)
	r.revenue.add("Manhattan", 23, 80_000_00)
	r.revenue.add("Manhattan", 0, 10_000_00)
	r.revenue.add("Fresh\x1b[31m Meadows and more", 1, -4)
	var b bytes.Buffer
	require.NoError(t, r.writeTable(&b))
	require.Equal(t, `
rides sent            1,234,567
acknowledged          1,234,565, in 2.50 s
not acknowledged      1 failed, 1 of unknown outcome
records a second      493,826
broker killed         2; partition 0 went from epoch 3 to 4
time without a leader 123.5 ms
rides matched         12
money taken           $1,234,567.89

group             consumed      lost  repeated  out of order       lag
notification     1,234,567         1         2             3         4

Revenue by borough and hour of the pickup; each row has a scale of its own
              00    03    06    09    12    15    18    21    
Manhattan     ▁▁                                            ██       $90,000.00
Queens                                  ██                               $50.00
unknown       ██                                                          $0.12
Fresh?[31m M…                                                            -$0.04
`, b.String())
	for line := range strings.Lines(b.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80)
	}
	require.ErrorIs(t, r.writeTable(broken{}), errBroken)
}

var errBroken = errors.New("broken pipe")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	done := 0
	p := newProgress(&b, 2000, func() int { return done })
	p.stage("early")
	p.show() // nothing has begun
	p.start = time.Now()
	for done = 0; done <= 2000; done += 100 {
		p.show()
		p.show()
	}
	p.stage("late")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 12, "a line each tenth: %s", &b)
	require.Regexp(t, `^ 10 %  200 of 2,000 rides, \d+\.\d s$`, lines[1])

	b.Reset()
	p.terminal, done = true, 1000
	p.show()
	p.stage("over")
	p.close()
	require.Equal(t, "\r\x1b[K"+strings.Repeat("█", 15)+strings.Repeat("░", 15)+"  50 %  1,000 of 2,000 rides"+"\r\x1b[Kover\n", b.String())
}

func TestAmounts(t *testing.T) {
	for c, want := range map[Cents]string{0: "$0.00", 5: "$0.05", -5: "-$0.05", 99_999: "$999.99", 100_000_00: "$100,000.00", -123_456_789: "-$1,234,567.89"} {
		require.Equal(t, want, c.String())
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -999: "-999", -1000: "-1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, thousands(n))
	}
}
