package clustertest

import (
	"sync"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
)

// clock is one node's. Its Elapsed follows Now: the boot time clock of the system does not know the time
// of a bubble of testing/synctest. While it is held no timer of it fires.
type clock struct {
	core.SystemClock
	started time.Time

	mu     sync.Mutex
	offset time.Duration
	held   bool
	due    []*timer // that were to fire since
}

// timer is one call of AfterFunc.
type timer struct {
	f    func()
	stop func() bool
	over bool // fired or stopped
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return shiftWall(time.Now(), c.offset)
}

func (c *clock) Elapsed() time.Duration { return time.Since(c.started) }

func (c *clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	t := &timer{f: f}
	c.mu.Lock()
	defer c.mu.Unlock()
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

// shiftWall moves the wall clock of t by whole seconds and leaves its monotonic reading alone, which package
// time offers nothing for: the wall seconds of a time with such a reading stand in its first word, above
// 30 bits of nanoseconds.
func shiftWall(t time.Time, d time.Duration) time.Time {
	if seconds := int64(d / time.Second); seconds != 0 {
		*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	}
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

func (c *clock) shift(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = d
}

var _ core.Clock = (*clock)(nil)
