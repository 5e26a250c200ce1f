package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	barWidth    = 30
	redrawEvery = 100 * time.Millisecond
)

// A progress tells somebody who waits how far it is: a bar that is drawn anew in
// its place on a terminal, a line at each tenth elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	total    int
	done     func() int

	mu     sync.Mutex // guards all below, and w
	start  time.Time  // zero: there is nothing to show yet
	tenths int        // told of
	drawn  bool       // the bar stands on the last line

	stop  chan struct{}
	ended sync.WaitGroup
}

func newProgress(w io.Writer, total int, done func() int) *progress {
	return &progress{w: w, terminal: isTerminal(w), total: total, done: done, stop: make(chan struct{})}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// begin shows the progress from now on, until close.
func (p *progress) begin() {
	p.mu.Lock()
	p.start = time.Now()
	p.mu.Unlock()
	p.ended.Go(func() {
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.show()
			case <-p.stop:
				p.show()
				return
			}
		}
	})
}

// close shows the progress a last time.
func (p *progress) close() {
	close(p.stop)
	p.ended.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprintln(p.w)
		p.drawn = false
	}
}

// stage tells of an event of the story.
func (p *progress) stage(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *progress) show() {
	done := p.done()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start.IsZero() {
		return
	}
	text := fmt.Sprintf("%3d %%  %s of %s rides", done*100/p.total, thousands(int64(done)), thousands(int64(p.total)))
	if p.terminal {
		full := done * barWidth / p.total
		fmt.Fprintf(p.w, "\r\x1b[K%s%s %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), text)
		p.drawn = true
		return
	}
	if tenths := done * 10 / p.total; tenths > p.tenths {
		p.tenths = tenths
		fmt.Fprintf(p.w, "%s, %.1f s\n", text, time.Since(p.start).Seconds())
	}
}
