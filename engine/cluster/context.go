package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// turnContext is the context of a turn that has a Turn: of a call from the wire or from another
// grain, of a hook, of a timer. It is one allocation; a channel and a timer are only made for those
// who ask for Done.
type turnContext struct {
	parent   context.Context // whose end and values are this one's too
	turn     grain.Turn
	frame    *frame
	node     *Node
	deadline time.Time // zero: only the parent's

	mu         sync.Mutex
	err        error
	done       chan struct{}
	stopTimer  func() bool
	stopParent func() bool
	after      map[*func()]struct{} // what AfterFunc registered
}

var (
	_ context.Context = (*turnContext)(nil)

	closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }() // never written to
)

// Deadline is the earlier one of the call's and the parent's.
func (c *turnContext) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	if c.deadline.IsZero() || ok && at.Before(c.deadline) {
		return at, ok
	}
	return c.deadline, true
}

// Value answers for the turn; everything else is the parent's.
func (c *turnContext) Value(key any) any {
	switch key.(type) {
	case grain.TurnKey:
		return &c.turn
	case frameKey:
		return c.frame
	}
	return c.parent.Value(key)
}

// Err looks at the clock and the parent too, so that it is right without a timer.
func (c *turnContext) Err() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err = c.parent.Err(); err == nil && !c.deadline.IsZero() && !c.node.clock.Now().Before(c.deadline) {
		err = context.DeadlineExceeded
	}
	if err != nil {
		c.cancel(err)
	}
	return err
}

// Done makes what watches over the end.
func (c *turnContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		return c.done
	}
	if c.err != nil {
		c.done = closedChan
		return c.done
	}
	c.done = make(chan struct{})
	if !c.deadline.IsZero() {
		left := c.deadline.Sub(c.node.clock.Now())
		c.stopTimer = c.node.clock.AfterFunc(left, func() { c.cancel(context.DeadlineExceeded) })
	}
	if c.parent.Done() != nil {
		c.stopParent = context.AfterFunc(c.parent, func() { c.cancel(c.parent.Err()) })
	}
	return c.done
}

// AfterFunc lets package context make children without a goroutine for each.
func (c *turnContext) AfterFunc(f func()) (stop func() bool) {
	c.Done() // watches over the end
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		c.node.group.Go("context", f)
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[*func()]struct{}{}
	}
	key := &f
	c.after[key] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, there := c.after[key]
		delete(c.after, key)
		return there
	}
}

// cancel ends the context, the first time it is called. The end of a turn calls it too.
func (c *turnContext) cancel(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	after, stopTimer, stopParent := c.after, c.stopTimer, c.stopParent
	c.after = nil
	c.mu.Unlock()
	if stopTimer != nil {
		stopTimer()
	}
	if stopParent != nil {
		stopParent()
	}
	for f := range after {
		c.node.group.Go("context", *f)
	}
}

// newTurn makes a context for the turn f. The chain is that of the calls which wait for the turn.
func (f *frame) newTurn(parent context.Context, from core.Member, headers map[string]string, chain []core.Identity) *turnContext {
	c := &turnContext{parent: parent, node: f.a.node, frame: f}
	c.turn = grain.Turn{Self: grain.NewSelf(f.a), Peer: from, Headers: headers, Chain: chain}
	return c
}
