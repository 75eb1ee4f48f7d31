package actor

import (
	"runtime/debug"
	"time"
)

// phase is where in its life a cell is. It belongs to the turn.
type phase uint8

const (
	born       phase = iota // New and Started are still to come
	live                    // handles messages
	leaving                 // will stop after the message in hand
	failed                  // a failure is to be told to the supervisor
	judged                  // waits for the supervisor's verdict, or for the time of its restart
	restarting              // waits for its children to end, then starts again
	stopping                // waits for its children to end
	ending                  // in its Stopped turn
	gone
)

// cell is the runtime of one actor: its intake, which any goroutine may use, and its turn, which one
// goroutine has at a time. Everything that few actors need is in more, and in box.side. It is 256 bytes, a
// size class of the allocator, with nothing to spare; the next one is 288.
type cell struct {
	ref   Ref // what others hold; its cell is this one
	props *Props
	box   mailbox

	// From here on the turn's own.
	phase   phase
	begun   uint32 // messages given to the actor, as box.done will say
	parent  *cell
	ready   *cell // the next in the dispatcher's queue, under its lock
	actor   Actor // also read by gates, under box.mu
	current *chunk
	ctx     Context
	more    *more
}

// more is the part of a cell that is made when first used.
type more struct {
	children    map[string]*cell
	childSeq    uint64
	watching    map[pidKey]*Ref
	behaviors   []ReceiveFunc
	receive     ReceiveFunc // the chain of Props.Receive
	send        SendFunc    // the chain of Props.Send
	stash       []item
	stashed     int64  // bytes that the stash holds
	ready       []item // unstashed, before all queued ones
	timers      *timerSet
	timeout     *receiveTimeout
	crash       *crash // the failure that the supervisor has to hear of
	history     []Crash
	begunAt     int64 // nanoseconds since the epoch at which the incarnation began; for Crash.Up
	incarnation uint64
	unjudge     func() bool // takes back the restart that a back-off waits for
}

func (c *cell) extra() *more {
	if c.more == nil {
		c.more = new(more)
	}
	return c.more
}

const (
	turnMessages = 300 // messages a turn, then another cell has its turn
	turnCheck    = 32  // messages between two looks at the clock
	turnTime     = int64(time.Millisecond)
	exactBelow   = 256 // mailboxes smaller than this keep their count exactly
	countStep    = 16  // larger ones to within this many
)

// turn runs the actor until its mailbox is empty or its share is used up; then it reports true and
// wants another turn. One recover frame serves the whole turn.
func (c *cell) turn(w *worker) (again bool) {
	c.ctx.worker = w
	ended := false
	defer func() {
		if !ended { // else the cell may be another worker's by now
			again = true
			c.crashed(recover())
		}
	}()
	again = c.work(w)
	ended = true
	return again
}

func (c *cell) work(w *worker) bool {
	if c.ref.sys.observer.MailboxWait != nil {
		c.observeWait()
	}
	var start int64
	for n := 1; n <= turnMessages; n++ {
		if c.phase != live || c.box.marked(alert) {
			if asleep := c.attend(w); asleep {
				return false
			}
			if c.phase != live {
				continue
			}
		}
		it, asleep := c.next(w)
		if asleep {
			return false
		}
		if it != nil {
			if n > 1 && w.next.Load() != nil {
				w.flush() // this turn goes on: another worker may have it
			}
			c.handle(it)
		}
		if n%turnCheck == 0 {
			now := c.ref.sys.clock.Now().UnixNano()
			if start == 0 {
				start = now
			} else if now-start > turnTime {
				return true
			}
		}
	}
	return true
}

// attend does what comes before user messages: the cell's own changes of phase, messages of the
// runtime and urgent messages. It reports whether the cell went to sleep.
func (c *cell) attend(w *worker) (asleep bool) {
	switch c.phase {
	case born:
		c.start()
	case leaving:
		c.beginStop()
	case failed:
		c.tellSupervisor()
	}
	for {
		msg, stop := c.box.popControl()
		if stop {
			c.beginStop()
		}
		if msg == nil {
			break
		}
		c.control(msg)
	}
	switch c.phase {
	case judged, restarting, stopping, ending, gone:
		return c.box.sleepSuspended()
	case live:
		if it, ok := c.box.popUrgent(); ok {
			w.item = it
			c.handle(&w.item)
		}
	}
	return false
}

// next gives the next user message. With neither a message nor sleep there is something to attend to.
func (c *cell) next(w *worker) (it *item, asleep bool) {
	if m := c.more; m != nil && len(m.ready) > 0 {
		w.item = m.ready[0]
		m.ready[0] = item{}
		if m.ready = m.ready[1:]; len(m.ready) == 0 {
			m.ready = nil
		}
		return &w.item, false
	}
	ch := c.current
	if ch != nil && ch.head < ch.tail {
		ch.head++
		it = &ch.items[ch.head-1]
		c.count(it, ch.head == ch.tail)
		return it, false
	}
	c.current = nil
	if ch != nil || c.begun != c.box.done.Load() {
		c.publish()
	}
	one, many, asleep := c.box.refill(&w.item, ch, &c.ref.sys.chunks)
	if many != nil {
		c.current = many
		many.head++
		it = &many.items[many.head-1]
		c.count(it, many.head == many.tail)
		return it, false
	}
	if one != nil {
		c.count(one, true)
	}
	return one, asleep
}

// count keeps the books of the mailbox, so that senders know how much room there is.
func (c *cell) count(it *item, last bool) {
	c.begun++
	if it.size > 0 {
		c.box.doneB.Add(int64(it.size))
	}
	if last || c.box.limit < exactBelow || c.begun%countStep == 0 {
		c.publish()
	}
}

func (c *cell) publish() {
	c.box.done.Store(c.begun)
	if c.box.kind == Blocking {
		c.box.giveRoom()
	}
}

// handle gives one item to the actor. The item is cleared, so that its memory is free.
func (c *cell) handle(it *item) {
	c.ctx.item = it
	switch it.kind {
	case itemUser, itemNudge, itemAgain:
		if enc, ok := it.env.Message.(Encoded); ok && !c.decode(it, enc) {
			break
		}
		c.deliver()
		if m := c.more; m != nil && m.timeout != nil && it.kind == itemUser {
			m.timeout.touch(c, it.env.Message)
		}
	case itemPoison:
		c.phase = leaving
	case itemCall:
		c.call(it.env.Message.(*turnCall))
	case itemTimeout:
		c.receiveTimeout()
	case itemEnded:
		c.watchedEnded(it)
	}
	*it = item{}
	c.ctx.item = nil
}

// deliver hands the present item to the actor's code.
func (c *cell) deliver() {
	if m := c.more; m != nil {
		if m.receive != nil {
			m.receive(&c.ctx)
			return
		}
		if n := len(m.behaviors); n > 0 {
			m.behaviors[n-1](&c.ctx)
			return
		}
	}
	c.actor.Receive(&c.ctx)
}

// receive is the innermost of the middleware.
func (c *cell) receive(ctx *Context) {
	if n := len(c.more.behaviors); n > 0 {
		c.more.behaviors[n-1](ctx)
		return
	}
	c.actor.Receive(ctx)
}

// decode replaces a message in wire form. If that fails, whoever waits is told, and the message is gone.
func (c *cell) decode(it *item, enc Encoded) bool {
	msg, err := safeDecode(enc)
	if err == nil {
		it.env.Message = msg
		return true
	}
	err = &DecodeError{Target: c.ref.PID(), Err: err}
	c.ref.sys.unhandled(c, &it.env, err)
	if it.env.Reply != nil {
		return false
	}
	c.ref.sys.log.Warn("actor: message dropped", "actor", c.ref.id, "error", err)
	return false
}

func safeDecode(enc Encoded) (msg any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return enc.Decode()
}

// crashed turns a panic, or the end of the goroutine, into a failure of this actor.
func (c *cell) crashed(value any) {
	if value == nil {
		value = Goexit
	}
	err := &PanicError{Value: value, Stack: debug.Stack()}
	var msg any
	if it := c.ctx.item; it != nil {
		msg = it.env.Message
		env := it.env
		*it = item{}
		c.ctx.item = nil
		if env.Reply != nil {
			env.Reply.Reply(env.ReplyID, nil, err)
		}
	}
	c.ref.sys.panicked(&c.ref, err)
	c.fail(err, msg)
}

// lifecycle gives the actor a message of the runtime, with a recover frame of its own: it reports the
// panic instead of failing the actor.
func (c *cell) lifecycle(msg any) (err *PanicError) {
	if c.actor == nil {
		return nil
	}
	ended := false
	defer func() {
		c.ctx.item = nil
		if ended {
			return
		}
		v := recover()
		if v == nil {
			v = Goexit
		}
		err = &PanicError{Value: v, Stack: debug.Stack()}
		c.ref.sys.panicked(&c.ref, err)
	}()
	c.ctx.item = &c.ctx.worker.item // free: no message is in hand while the phase changes
	*c.ctx.item = item{env: Envelope{Message: msg}}
	c.deliver()
	*c.ctx.item = item{}
	ended = true
	return nil
}

func (c *cell) observeWait() {
	if since := c.box.wokenAt(); since != 0 {
		waited := time.Duration(c.ref.sys.clock.Now().UnixNano() - since)
		c.ref.sys.protect(&c.ref, "Observer.MailboxWait", func() { c.ref.sys.observer.MailboxWait(&c.ref, waited) })
	}
}
