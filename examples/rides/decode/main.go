// Decode reads segment files and checks every byte of them.
//
// It shares no code with Samsa: its decoder was written from the description of
// Kafka's RecordBatch, version 2, alone. So what it accepts is that format, and
// not merely what Samsa reads back.
//
//	go run ./examples/rides -dir data
//	go run ./examples/rides/decode data/1/ride_requested-0/*.log
//
// For each file it prints the batches, records and offsets. A file must be whole
// batches from its first byte on, each with the right checksum, with offsets that leave
// no hole and well-formed records, and zeros behind the last. The exit status
// is 1 if one is not, and 2 if there is nothing to read.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run checks the files and returns the exit status.
func run(files []string, stdout, stderr io.Writer) int {
	if len(files) == 0 {
		fmt.Fprintln(stderr, "usage: decode segment.log ...")
		return 2
	}
	status := 0
	for _, name := range files {
		sum, err := readFile(name)
		if err != nil {
			fmt.Fprintf(stderr, "decode: %s: %v\n", name, err)
			status = 1
			continue
		}
		fmt.Fprintf(stdout, "%s: %v\n", name, sum)
	}
	return status
}

func readFile(name string) (summary, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return summary{}, err
	}
	return decode(data, firstOffset(name))
}

// firstOffset is what the name of a segment says about its first offset, or -1.
func firstOffset(name string) int64 {
	digits, ok := strings.CutSuffix(filepath.Base(name), ".log")
	if !ok || len(digits) != 20 {
		return -1
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}
