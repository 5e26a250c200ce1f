// Rides tells the story of a ride-hailing company, and checks that every word of
// it is true.
//
// Three brokers run in this process. Passengers request rides: each request is a
// record of the topic ride_requested, which has six partitions and three replicas
// of each; its key is the zone of the pickup, so that the rides of a zone keep
// their order. Four services read it. Each is a consumer group with a client of its
// own, and none knows the others: matching finds a driver and answers in
// ride_matched, payment takes the money, notification tells the passenger,
// analytics adds up the revenue. Notification is down at first; the events wait
// for it. In the middle, under load, the broker that leads partition 0 dies: it
// hands nothing over and tells nobody. Another replica takes over, the sender and the
// services find it by themselves, and later the dead broker comes back and
// catches up.
//
// Every record carries an identity, so at the end a table can say what each group
// was given: what was acknowledged and never came (lost), came again (repeated),
// or came before an earlier ride of its zone (out of order). Nothing may be
// lost or out of order.
//
//	go run ./examples/rides
//	go run ./examples/rides -trips trips.csv -repeat 10 -dir data -json
//
// The exit status is 0 if the story ends well, 1 if not, 2 if it could not begin
// because of a flag, a file of trips or a directory, and 130 if it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// The exit statuses.
const (
	statusOK          = 0
	statusBad         = 1 // something was lost, or out of order, or did not work
	statusUsage       = 2 // a flag, a file of trips or a directory is not as it should be
	statusInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the program as ever
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the flags say.
type options struct {
	trips  string
	repeat int
	dir    string
	json   bool
	rides  int // how many are generated where there is no file
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return statusOK
	case err != nil:
		return statusUsage // the flag package has said why
	}
	return play(ctx, opts, stdout, stderr)
}

func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{rides: generatedRides}
	flags := flag.NewFlagSet("rides", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.trips, "trips", "", "replay the trips of a CSV `file` (default: generated ones)")
	flags.IntVar(&opts.repeat, "repeat", 1, "send all trips `n` times")
	flags.StringVar(&opts.dir, "dir", "", "keep the brokers' data in `dir`/1, dir/2, dir/3 (default: memory)")
	flags.BoolVar(&opts.json, "json", false, "print one JSON object instead of the table")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("there is no argument %q; see -help", flags.Arg(0))
	case opts.repeat < 1:
		err = fmt.Errorf("-repeat is %d; it must be at least 1", opts.repeat)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rides:", err)
	}
	return opts, err
}

// play tells one story and reports on it.
func play(ctx context.Context, opts options, stdout, stderr io.Writer) int {
	rides, err := prepare(opts)
	if err != nil {
		fmt.Fprintln(stderr, "rides:", err)
		return statusUsage
	}
	b := newBook(newOrder(rides, opts.repeat))
	p := newProgress(stderr, b.order.len(), b.answers)
	report, err := newStory(rides, opts, p, b).tell(ctx)
	p.close()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "rides: interrupted; %s of %s rides were acknowledged\n", thousands(b.acked.Load()), thousands(int64(b.order.len())))
		return statusInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "rides:", err)
		return statusBad
	}
	return conclude(report, opts.json, stdout, stderr)
}

// conclude prints the report and returns the exit status that it deserves.
func conclude(r *report, asJSON bool, stdout, stderr io.Writer) int {
	write := r.writeTable
	if asJSON {
		write = r.writeJSON
	}
	if err := write(stdout); err != nil {
		r.problem("%v", err)
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(stderr, "rides:", problem)
	}
	if !r.sound() {
		return statusBad
	}
	return statusOK
}

// mostRequests bounds a run: each request takes some memory to the end of it.
const mostRequests = 100_000_000

// prepare reads or makes the rides, and looks whether there is room for the data.
func prepare(opts options) (rides []Ride, err error) {
	if opts.trips == "" {
		rides = generate(opts.rides, generatedSeed)
	} else if rides, err = readTrips(opts.trips); err != nil {
		return nil, err
	}
	if opts.repeat > mostRequests/len(rides) {
		return nil, fmt.Errorf("-repeat is %d: %s trips can be sent %s times at most", opts.repeat, thousands(int64(len(rides))), thousands(int64(mostRequests/len(rides))))
	}
	if opts.dir != "" {
		err = vacant(opts.dir)
	}
	return rides, err
}

// vacant returns nil if no broker has kept anything in dir. Rides of an earlier
// run have the same identities as those of this one, and would be mixed up.
func vacant(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := range brokers {
		name := filepath.Join(dir, fmt.Sprint(i+1))
		entries, err := os.ReadDir(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		case len(entries) > 0:
			return fmt.Errorf("%s holds the data of an earlier run: remove it, or give another -dir", name)
		}
	}
	return nil
}
