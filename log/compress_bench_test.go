package log

import (
	"fmt"
	"testing"
)

// What compressing costs, on 64 KiB of records as applications send them: ratio is
// how many times smaller a batch gets.
func BenchmarkCompress(b *testing.B) {
	for _, codec := range append([]Compression{NoCompression}, codecs...) {
		var builder Builder
		records := rides(&builder, 64<<10)
		plain := builder.Size()
		b.Run(fmt.Sprint(codec, "/build"), func(b *testing.B) {
			b.SetBytes(int64(plain))
			b.ReportAllocs()
			var batch Batch
			for b.Loop() {
				builder.Reset(nil)
				for i := range records {
					builder.Append(records[i].Timestamp, records[i].Key, records[i].Value, nil)
				}
				batch = builder.Compress(codec)
			}
			b.ReportMetric(float64(plain)/float64(len(batch)), "ratio")
		})
		batch := builder.Compress(codec)
		b.Run(fmt.Sprint(codec, "/check"), func(b *testing.B) {
			b.SetBytes(int64(plain))
			b.ReportAllocs()
			for b.Loop() {
				if err := batch.CheckRecords(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(codec, "/records"), func(b *testing.B) {
			b.SetBytes(int64(plain))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range batch.Records() {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
