package kit

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Latch opens when it has been counted down to zero. Safe for concurrent use.
type Latch struct {
	left atomic.Int64
	open chan struct{}
}

// NewLatch returns a latch that n calls of Done open.
func NewLatch(n int) *Latch {
	l := &Latch{open: make(chan struct{})}
	l.left.Store(int64(n))
	return l
}

// Done counts down by one.
func (l *Latch) Done() {
	if l.left.Add(-1) == 0 {
		close(l.open)
	}
}

// Wait blocks until the latch is open; after limit it gives up.
func (l *Latch) Wait(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-l.open:
		return nil
	case <-timer.C:
		return fmt.Errorf("not complete after %v: %d left", limit, l.left.Load())
	}
}

// Counter is the receiver's own count. Only the actor that owns it hits it, so it costs one
// addition a message and no atomic operation.
type Counter struct {
	seen, goal int64
	latch      *Latch
}

// Expect starts a new count that is complete after goal hits. Call it before the first message is
// sent: the mailbox orders it before the hits.
func (c *Counter) Expect(goal int, latch *Latch) {
	c.seen, c.goal, c.latch = 0, int64(goal), latch
}

// Hit counts one message.
func (c *Counter) Hit() {
	c.seen++
	if c.seen == c.goal {
		c.latch.Done()
	}
}

// Check returns an error if more messages than expected have come. Call it when the latch is open.
func (c *Counter) Check() error {
	if c.seen != c.goal {
		return fmt.Errorf("received %d messages, expected %d", c.seen, c.goal)
	}
	return nil
}
