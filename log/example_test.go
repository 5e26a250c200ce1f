package log_test

import (
	"context"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
)

// A log by itself: append, make durable, read back, find by time, and let go of what
// is old.
func Example() {
	l, _, err := log.Open(log.NewMemFS(), "rides-0", log.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	var b log.Builder
	for i := range 3 {
		b.Append(int64(1000*i), fmt.Appendf(nil, "ride %d", i%2), fmt.Appendf(nil, "step %d", i), nil)
	}
	first, err := l.Append(0, b.Build())
	if err == nil {
		_, err = l.Flush() // now a power cut cannot take it
	}
	if err != nil {
		fmt.Println(err)
		return
	}

	data, _ := l.Read(first, l.End(), 1<<20)
	batch, _, _ := log.SplitBatch(data)
	for r, err := range batch.Records() {
		fmt.Printf("%d: %s = %s %v\n", r.Offset, r.Key, r.Value, err)
	}
	off, found, _ := l.OffsetAt(1500, l.End())
	fmt.Println("at 1.5 s:", off, found)

	now := time.UnixMilli(10_000)
	start, roll, _ := l.Expired(now, log.Retention{Age: time.Second}, l.End())
	if roll { // the newest segment is old too
		_ = l.Roll()
		start, _, _ = l.Expired(now, log.Retention{Age: time.Second}, l.End())
	}
	_ = l.DeleteBefore(start)
	fmt.Println("starts at", l.Start())

	done, _ := l.Compact(context.Background(), now, log.CompactConfig{UpTo: l.End()})
	fmt.Println("worth compacting:", done.Ran)
	// Output:
	// 0: ride 0 = step 0 <nil>
	// 1: ride 1 = step 1 <nil>
	// 2: ride 0 = step 2 <nil>
	// at 1.5 s: 2 true
	// starts at 3
	// worth compacting: false
}
