package consume

import (
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

func TestProgress(t *testing.T) {
	hand := func(off log.Offset) func(*progress) { return func(p *progress) { p.hand(off, 1) } }
	settle := (*progress).settle
	back := func(p *progress) { p.back() }
	finish := func(at log.Offset) func(*progress) { return func(p *progress) { p.finish(mark{at, 1}) } }
	pass := func(at log.Offset) func(*progress) { return func(p *progress) { p.pass(mark{at, 1}) } }
	start := func(at log.Offset) func(*progress) { return func(p *progress) { p.start(mark{at, 1}) } }
	tests := []struct {
		name  string
		steps []func(*progress)
		due   log.Offset // -1: nothing
		next  log.Offset // if the caller goes away now
	}{
		{"what was committed before is not due", nil, -1, 10},
		{"what is in hand is not finished", []func(*progress){hand(10)}, -1, 10},
		{"what the caller has come back from is finished", []func(*progress){hand(10), settle}, 11, 11},
		{"only the last is in hand", []func(*progress){hand(10), settle, hand(11)}, 11, 11},
		{"a batch is in hand as a whole", []func(*progress){hand(10), hand(11), hand(12)}, -1, 10},
		{"who goes away has not finished", []func(*progress){hand(10), back, settle}, -1, 10},
		{"the caller's word finishes what is in hand", []func(*progress){hand(10), hand(11), finish(11), back}, 11, 11},
		{"the caller's word takes nothing back", []func(*progress){hand(10), settle, hand(11), settle, finish(11)}, 12, 12},
		{"a new start drops what is in hand", []func(*progress){hand(10), start(5), settle}, 5, 5},
		{"what has no records is finished at once", []func(*progress){pass(15)}, 15, 15},
		{"what has no records is finished with what is in hand", []func(*progress){hand(10), pass(15)}, -1, 10},
		{"and then as a whole", []func(*progress){hand(10), pass(15), settle}, 15, 15},
		{"it is read again with what was in hand", []func(*progress){hand(10), pass(15), back, settle}, -1, 10},
		{"the end of a batch that ends with a record is nothing new", []func(*progress){hand(10), pass(11)}, -1, 10},
		{"the caller's word of what is behind it stands", []func(*progress){hand(10), hand(11), back, finish(12), pass(11)}, 12, 11},
		{"a gap in the offsets is passed", []func(*progress){hand(10), settle, hand(20), settle}, 21, 21},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p progress
			p.start(mark{10, 0})
			p.committed = mark{10, 0}
			for _, step := range tt.steps {
				step(&p)
			}
			due := log.Offset(-1)
			if m, ok := p.due(); ok {
				due = m.at
			}
			require.Equal(t, tt.due, due)
			next, _ := p.back()
			require.Equal(t, tt.next, next)
		})
	}
}
