package clustertest

import (
	"sync"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
)

// clock is one node's. Its Elapsed follows package time: the boot time clock of the system does not know the
// time of a bubble of testing/synctest. While it is held no timer of it fires.
type clock struct {
	core.SystemClock
	started time.Time

	mu    sync.Mutex
	ahead time.Duration // of the wall clock
	rate  float64       // 0: 1
	since time.Duration // of package time, at which the rate was set
	gone  time.Duration // by this clock until then
	held  bool
	due   []*timer // that were to fire since
}

// timer is one call of AfterFunc.
type timer struct {
	f    func()
	stop func() bool
	over bool // fired or stopped
}

// Now has a monotonic reading, which the time in a bubble lacks: intervals do not notice that the wall clock
// jumps.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := c.elapsed()
	return monotonic(c.started.Round(0).Add(gone+c.ahead), gone)
}

func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed()
}

// elapsed is under the lock.
func (c *clock) elapsed() time.Duration {
	d := time.Since(c.started)
	if c.rate == 0 {
		return d
	}
	return c.gone + time.Duration(float64(d-c.since)*c.rate)
}

func (c *clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	t := &timer{f: f}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rate != 0 && d > 0 {
		d = time.Duration(float64(d)/c.rate) + 1 // never early
	}
	t.stop = time.AfterFunc(d, func() { c.fire(t) }).Stop
	return func() bool { return c.end(t) }
}

func (c *clock) end(t *timer) bool {
	c.mu.Lock()
	was := t.over
	t.over = true
	c.mu.Unlock()
	t.stop()
	return !was
}

// fire runs the timer, or keeps it until the clock goes on.
func (c *clock) fire(t *timer) {
	c.mu.Lock()
	switch {
	case t.over:
		c.mu.Unlock()
		return
	case c.held:
		c.due = append(c.due, t)
		c.mu.Unlock()
		return
	}
	t.over = true
	c.mu.Unlock()
	t.f()
}

// monotonic gives t, the wall clock's, a monotonic reading, which package time offers nothing for. Its times
// are two words: with such a reading the first has the highest bit set, seconds since 1885 in the next 33 and
// nanoseconds in the last 30, and the second is the reading.
func monotonic(t time.Time, reading time.Duration) time.Time {
	const flag, since1885 = 1 << 63, 2_682_288_000 // seconds from the beginning of 1885 to that of 1970
	words := (*[2]uint64)(unsafe.Pointer(&t))
	words[0] = flag | uint64(t.Unix()+since1885)<<30 | uint64(t.Nanosecond())
	words[1] = uint64(reading) + 1
	return t
}

func (c *clock) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release fires what was due meanwhile, each a nanosecond after the one before, so that their order is
// the same in each run.
func (c *clock) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	for i, t := range c.due {
		t.stop = time.AfterFunc(time.Duration(i), func() { c.fire(t) }).Stop
	}
	c.due = nil
}

func (c *clock) shift(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = ahead
}

// run lets the clock go rate times as fast as package time. Timers that are set keep their time.
func (c *clock) run(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = c.elapsed()
	c.since, c.rate = time.Since(c.started), rate
}

var _ core.Clock = (*clock)(nil)
