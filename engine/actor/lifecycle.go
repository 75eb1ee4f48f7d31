package actor

import (
	"errors"
	"maps"
	"slices"

	"github.com/granary-go/granary/core"
)

// control handles one message of the runtime.
func (c *cell) control(msg any) {
	switch m := msg.(type) {
	case *childEnded:
		c.childEnded(m.child)
	case *childFailed:
		c.superviseChild(m)
	case verdict:
		c.apply(m)
	case restartNow:
		if c.phase == judged && m.incarnation == c.extra().incarnation {
			c.restart()
		}
	case goOn:
		c.resumePhase()
	}
}

// goOn is queued when a lifecycle message ended the goroutine in the middle of a change of phase.
type goOn struct{}

func (c *cell) resumePhase() {
	switch c.phase {
	case stopping, restarting:
		c.stopChildren()
	case ending:
		c.end()
	}
}

// start begins an incarnation. The Started message runs in the turn's recover frame: a panic is a
// failure of the actor.
func (c *cell) start() {
	again := c.more != nil && c.more.incarnation > 0
	if c.actor == nil {
		a := c.props.New()
		if a == nil {
			c.fail(errors.New("actor: Props.New gave no actor"), nil)
			return
		}
		c.box.mu.Lock()
		c.actor = a
		c.box.mu.Unlock()
	}
	c.phase = live // a panic from here on finds an actor
	if again {
		c.more.begunAt = c.ref.sys.clock.Now().UnixNano()
	}
	c.setReceive()
	c.ctx.item = &c.ctx.worker.item
	*c.ctx.item = item{env: Envelope{Message: Started{}}}
	c.deliver()
	*c.ctx.item = item{}
	c.ctx.item = nil
	if again {
		c.unstash()
	}
}

func (c *cell) setReceive() {
	if len(c.props.Receive) == 0 {
		return
	}
	m := c.extra()
	m.receive = c.receive
	for _, wrap := range slices.Backward(c.props.Receive) {
		m.receive = wrap(m.receive)
	}
}

// beginStop closes the mailbox, answers what is left in it, and stops the children.
func (c *cell) beginStop() {
	if c.phase >= stopping {
		return
	}
	c.phase = stopping
	c.cancelTimers()
	c.drop()
	c.lifecycle(Stopping{})
	c.stopChildren()
}

// drop answers everything that is left of the mailbox as dead letters.
func (c *cell) drop() {
	left := c.box.close()
	var held []item
	if m := c.more; m != nil {
		held = append(m.ready, m.stash...)
		m.ready, m.stash = nil, nil
	}
	if ch := c.current; ch != nil {
		held = append(held, ch.items[ch.head:ch.tail]...)
		clear(ch.items[:ch.tail])
		c.current = nil
		c.ref.sys.chunks.put(ch)
	}
	for _, it := range append(held, left...) {
		c.ref.sys.discard(c, &it)
	}
}

func (c *cell) stopChildren() {
	if c.more == nil || len(c.more.children) == 0 {
		c.childrenEnded()
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.more.children)) {
		c.more.children[name].askStop()
	}
}

// stopMessage is the one Stop; it holds nothing.
var stopMessage = new(Stop)

type childEnded struct{ child *cell }

func (c *cell) childEnded(child *cell) {
	m := c.extra()
	if m.children[child.ref.id] != child {
		return
	}
	delete(m.children, child.ref.id)
	if len(m.children) == 0 {
		m.children = nil
		c.childrenEnded()
	}
}

// childrenEnded goes on with what waited for the children.
func (c *cell) childrenEnded() {
	switch c.phase {
	case stopping:
		c.finishStop()
	case restarting:
		c.finishRestart()
	}
}

func (c *cell) finishStop() {
	c.phase = ending
	c.lifecycle(Stopped{})
	c.end()
}

// end is what follows the Stopped turn: the name is free, then everybody is told.
func (c *cell) end() {
	c.phase = gone
	c.cancelTimers() // those that Stopping and Stopped made
	a := c.actor
	c.ref.sys.registry.remove(c)
	c.box.mu.Lock()
	c.box.mark(dead)
	c.actor = nil
	watchers, waiters := c.takeWatchers()
	c.box.mu.Unlock()
	defer c.farewell(waiters, watchers) // also if Closed ends the goroutine
	if c.props.Closed != nil {
		_ = c.ref.sys.protect(&c.ref, "Props.Closed", func() { c.props.Closed(a) }) // it was logged
	}
}

// farewell tells everybody of the end.
func (c *cell) farewell(waiters *waiter, watchers []*Ref) {
	m := c.more
	c.more = nil
	c.ref.sys.ended(c)
	c.tellEnded(watchers)
	if m != nil {
		for _, target := range inOrder(m.watching) {
			c.ref.sys.unwatch(target, &c.ref)
		}
	}
	if p := c.parent; p != nil {
		p.postControl(&childEnded{c})
	}
	for w := waiters; w != nil; {
		after := w.next
		w.next = nil
		w.done <- struct{}{} // has room; from here on it is somebody else's
		w = after
	}
}

func (c *cell) tellEnded(watchers []*Ref) {
	if len(watchers) == 0 {
		return
	}
	why := &Terminated{Who: c.ref.PID(), Why: TerminatedStopped}
	for _, w := range watchers {
		c.ref.sys.tellTerminated(w, why)
	}
}

// restart ends the present incarnation.
func (c *cell) restart() {
	c.phase = restarting
	c.box.suspend(true)
	c.cancelTimers()
	c.lifecycle(Restarting{})
	c.stopChildren()
}

func (c *cell) finishRestart() {
	c.cancelTimers() // those that Restarting made
	m := c.extra()
	m.behaviors = nil
	m.incarnation++
	c.phase = born
	c.box.mu.Lock()
	if c.props.New != nil {
		c.actor = nil // if New fails, there is none
	}
	c.box.suspended = false
	c.box.mu.Unlock()
	if f := c.ref.sys.observer.Restarted; f != nil {
		c.ref.sys.protect(&c.ref, "Observer.Restarted", func() { f(&c.ref) })
	}
}

// postControl queues a message of the runtime from any goroutine. False: the cell is dead.
func (c *cell) postControl(msg any) bool {
	return c.accepted(c.box.pushControl(msg))
}

// askStop asks for a Stop from any goroutine. False: the cell is dead.
func (c *cell) askStop() bool {
	return c.accepted(c.box.askStop())
}

// postUrgent queues a message that goes before user messages. False: the actor is stopping.
func (c *cell) postUrgent(it item) bool {
	return c.accepted(c.box.pushUrgent(it))
}

// accepted schedules the cell if what was queued has to wake it. False: it was not queued.
func (c *cell) accepted(o outcome) bool {
	if o == takenWake {
		c.ref.sys.dispatch.schedule(c, nil)
	}
	return o != isClosed
}

// pidKey is a PID as a key: members are compared by ID only.
type pidKey struct {
	member core.MemberID
	id     string
}

func keyOf(r *Ref) pidKey {
	p := r.PID()
	return pidKey{p.Member, p.ID}
}
