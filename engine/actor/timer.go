package actor

import (
	"sync"
	"sync/atomic"
	"time"
)

// turnCall is code of an actor that runs as a turn of its own: a timer or a continuation. It belongs to
// one incarnation.
type turnCall struct {
	incarnation uint64
	run         func(c *Context)
	timer       *timer
	env         Envelope // of the message that a continuation goes on with
}

// timer is one After or Every. Its stop may be called from any goroutine.
type timer struct {
	cell    *cell
	set     *timerSet
	call    turnCall
	every   time.Duration
	next    time.Time
	stopped atomic.Bool

	mu     sync.Mutex
	cancel func() bool
}

// timerSet are the timers of an incarnation, to be cancelled with it.
type timerSet struct {
	mu sync.Mutex
	m  map[*timer]struct{}
}

func (c *cell) addTimer(d, every time.Duration, f func(*Context)) (stop func()) {
	m := c.extra()
	if m.timers == nil {
		m.timers = &timerSet{m: make(map[*timer]struct{})}
	}
	t := &timer{cell: c, set: m.timers, every: every, next: c.ref.sys.clock.Now().Add(d)}
	t.call = turnCall{incarnation: m.incarnation, run: f, timer: t}
	t.set.mu.Lock()
	t.set.m[t] = struct{}{}
	t.set.mu.Unlock()
	t.arm(d)
	return t.stop
}

func (t *timer) arm(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped.Load() {
		t.cancel = t.cell.ref.sys.clock.AfterFunc(max(d, 0), t.fire)
	}
}

func (t *timer) fire() {
	t.cell.postUrgent(item{kind: itemCall, env: Envelope{Message: &t.call}})
}

func (t *timer) stop() {
	t.mu.Lock()
	t.stopped.Store(true)
	if t.cancel != nil {
		t.cancel()
	}
	t.mu.Unlock()
	t.set.mu.Lock()
	delete(t.set.m, t)
	t.set.mu.Unlock()
}

// call runs a timer or a continuation of this incarnation; one of an earlier is dropped.
func (c *cell) call(tc *turnCall) {
	var now uint64
	if c.more != nil {
		now = c.more.incarnation
	}
	if tc.incarnation != now {
		c.ref.sys.discard(c, c.ctx.item)
		return
	}
	if tc.timer != nil && tc.timer.stopped.Load() {
		return
	}
	c.ctx.item.env = tc.env
	if t := tc.timer; t != nil && t.every > 0 {
		t.again()
	} else if t != nil {
		t.stop()
	}
	tc.run(&c.ctx)
}

// again arms a repeated timer for its next due time; those that were missed are left out, so a slow
// actor gets one tick and the ticks do not drift.
func (t *timer) again() {
	now := t.cell.ref.sys.clock.Now()
	t.next = t.next.Add(t.every)
	if late := now.Sub(t.next); late > 0 {
		t.next = t.next.Add(late.Truncate(t.every) + t.every)
	}
	t.arm(t.next.Sub(now))
}

// cancelTimers ends what may still call into the present incarnation.
func (c *cell) cancelTimers() {
	m := c.more
	if m == nil {
		return
	}
	if m.timers != nil {
		m.timers.mu.Lock()
		all := m.timers.m
		m.timers.m = make(map[*timer]struct{})
		m.timers.mu.Unlock()
		for t := range all {
			t.stop()
		}
	}
	if m.timeout != nil {
		m.timeout.cancel()
		m.timeout = nil
	}
	if m.unjudge != nil {
		m.unjudge()
		m.unjudge = nil
	}
}

// receiveTimeout is the watch over an actor's silence. It belongs to the turn, but for its timer's
// callback, which only queues an item. The timer is not touched by messages: when it fires it looks how
// long the silence was.
type receiveTimeout struct {
	d    time.Duration
	last time.Time
	id   uint64
	stop func() bool
}

func (c *cell) setReceiveTimeout(d time.Duration) {
	m := c.extra()
	var id uint64
	if m.timeout != nil {
		m.timeout.cancel()
		id = m.timeout.id
	}
	m.timeout = nil
	if d <= 0 {
		return
	}
	m.timeout = &receiveTimeout{d: d, last: c.ref.sys.clock.Now(), id: id + 1}
	m.timeout.arm(c, d)
}

func (t *receiveTimeout) arm(c *cell, d time.Duration) {
	t.cancel() // one that an item of an earlier timeout left armed
	id := t.id
	t.stop = c.ref.sys.clock.AfterFunc(d, func() {
		c.postUrgent(item{kind: itemTimeout, env: Envelope{ReplyID: id}})
	})
}

func (t *receiveTimeout) cancel() {
	if t.stop != nil {
		t.stop()
	}
}

// touch notes that the actor handled msg.
func (t *receiveTimeout) touch(c *cell, msg any) {
	if _, quiet := msg.(NoReset); !quiet {
		t.last = c.ref.sys.clock.Now()
	}
}

// receiveTimeout tells the actor of its silence, or waits for the rest of it.
func (c *cell) receiveTimeout() {
	if c.more == nil || c.more.timeout == nil || c.more.timeout.id != c.ctx.item.env.ReplyID {
		return
	}
	t := c.more.timeout
	silence := c.ref.sys.clock.Now().Sub(t.last)
	if silence < t.d {
		t.arm(c, t.d-silence)
		return
	}
	if c.holdsMessages() {
		t.arm(c, t.d)
		return
	}
	c.ctx.item.env = Envelope{Message: ReceiveTimeout{}}
	t.last = c.ref.sys.clock.Now()
	t.arm(c, t.d)
	c.deliver()
}
