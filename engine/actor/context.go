package actor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// Context is what an actor may do and know during one turn. It is valid on the turn's goroutine, until
// Receive returns.
type Context struct {
	cell   *cell
	item   *item
	worker *worker
}

// Self is the reference to this actor.
func (c *Context) Self() *Ref { return &c.cell.ref }

// System is the system that this actor belongs to.
func (c *Context) System() *System { return c.cell.ref.sys }

// Parent is the actor that spawned this one; nil for one without.
func (c *Context) Parent() *Ref {
	if c.cell.parent == nil {
		return nil
	}
	return &c.cell.parent.ref
}

// Children are the actors that this one spawned and that have not ended, by name.
func (c *Context) Children() []*Ref {
	if c.cell.more == nil {
		return nil
	}
	refs := make([]*Ref, 0, len(c.cell.more.children))
	for _, name := range slices.Sorted(maps.Keys(c.cell.more.children)) {
		refs = append(refs, &c.cell.more.children[name].ref)
	}
	return refs
}

// Logger is the system's, with this actor's name.
func (c *Context) Logger() *slog.Logger { return c.cell.ref.sys.log.With("actor", c.cell.ref.id) }

// Message is the message in hand.
func (c *Context) Message() any { return c.item.env.Message }

// Sender is who sent the message in hand; nil if nobody said so.
func (c *Context) Sender() *Ref { return c.item.env.Sender }

// Header is what came beside the message in hand; it may be nil and is not to be modified.
func (c *Context) Header() Header { return c.item.env.Header }

// Envelope is the message in hand with all that belongs to it, so that its answer may be given later,
// also from another goroutine.
func (c *Context) Envelope() Envelope { return c.item.env }

// Respond answers the message in hand: who asked gets msg, else the sender. ErrNoSender says that there
// is neither. A second answer to an ask is dropped.
func (c *Context) Respond(msg any) error {
	e := &c.item.env
	switch {
	case e.Reply != nil:
		e.Reply.Reply(e.ReplyID, msg, nil)
		return nil
	case e.Sender != nil:
		return c.Send(e.Sender, Envelope{Message: msg, Sender: c.Self()})
	}
	return ErrNoSender
}

// RespondError answers the message in hand with an error. Who asked gets it as core.Delivered, whatever
// err says of a message that this actor sent itself. Whoever did not ask but sent gets it as a message.
func (c *Context) RespondError(err error) error {
	if e := &c.item.env; e.Reply != nil {
		e.Reply.Reply(e.ReplyID, nil, core.WithDelivery(err, core.Delivered))
		return nil
	}
	return c.Respond(err)
}

// Tell sends msg to to. See Ref.Send; the actor's Props.Send see it first.
func (c *Context) Tell(to *Ref, msg any) error { return c.Send(to, Envelope{Message: msg}) }

// Send sends e to to. See Ref.Send; the actor's Props.Send see it first.
func (c *Context) Send(to *Ref, e Envelope) error {
	if len(c.cell.props.Send) > 0 {
		return c.sendWrapped(to, e)
	}
	return c.send(to, e)
}

func (c *Context) send(to *Ref, e Envelope) error { return to.send(&e, c.worker, patient(nil)) }

// sendWrapped is Send through the middleware, whose chain is made once.
func (c *Context) sendWrapped(to *Ref, e Envelope) error {
	m := c.cell.extra()
	if m.send == nil {
		m.send = (*Context).send
		for _, wrap := range slices.Backward(c.cell.props.Send) {
			m.send = wrap(m.send)
		}
	}
	return m.send(c, to, e)
}

// Request sends msg with this actor as sender, so that the answer comes as a message.
func (c *Context) Request(to *Ref, msg any) error {
	return c.Send(to, Envelope{Message: msg, Sender: c.Self()})
}

// Forward sends the message in hand on to to, with its sender, header and answer.
func (c *Context) Forward(to *Ref) error {
	err := c.Send(to, c.item.env)
	if err != nil {
		return err
	}
	c.item.env.Reply = nil // the answer is to's now
	return nil
}

// Ask sends msg and waits for the answer, no longer than ctx. The actor handles nothing meanwhile; two
// actors that ask each other wait until ctx ends. ReenterAfter does not block.
func (c *Context) Ask(ctx context.Context, to *Ref, msg any) (any, error) {
	if len(c.cell.props.Send) > 0 {
		c.flush()
		a := c.cell.ref.sys.NewAsk()
		if a.slot == nil { // before it is sent: nobody could take the answer
			return nil, errAsksExhausted
		}
		if err := c.Send(to, Envelope{Message: msg, Sender: c.Self(), Reply: c.cell.ref.sys, ReplyID: a.ID()}); err != nil {
			a.Cancel()
			return nil, err
		}
		c.flush()
		return a.Wait(ctx)
	}
	return c.cell.ref.sys.ask(ctx, to, Envelope{Message: msg, Sender: c.Self()}, c.worker)
}

func (c *Context) flush() {
	if c.worker != nil {
		c.worker.flush()
	}
}

// RequestFuture sends msg and gives a Future of the answer, which fails after d if that is positive.
func (c *Context) RequestFuture(to *Ref, msg any, d time.Duration) *Future {
	e := Envelope{Message: msg, Sender: c.Self()}
	return c.cell.ref.sys.request(e, d, func(e Envelope) error { return c.Send(to, e) })
}

// ReenterAfter runs f as a turn of this actor when fut is settled: then Message, Sender and Respond are
// those of the message in hand now. Other messages are handled meanwhile. If the actor is restarted or
// stopped before, f does not run, and who asked gets core.ErrStopped with an unknown delivery.
func (c *Context) ReenterAfter(fut *Future, f func(c *Context, msg any, err error)) {
	cell := c.cell
	tc := &turnCall{env: c.item.env}
	if cell.more != nil {
		tc.incarnation = cell.more.incarnation
	}
	fut.onSettled(func(msg any, err error) {
		tc.run = func(c *Context) { f(c, msg, err) }
		if it := (item{kind: itemCall, env: Envelope{Message: tc}}); !cell.postUrgent(it) {
			cell.ref.sys.discard(cell, &it)
		}
	})
}

// Spawn starts a child under a name of the system's making. A child is stopped with its parent, which
// supervises it.
func (c *Context) Spawn(p *Props) (*Ref, error) { return c.SpawnNamed("", p) }

// SpawnNamed starts a child; its name in the system is this actor's, a slash and name. core.ErrConflict
// says that it is taken, core.ErrStopped that this actor is stopping.
func (c *Context) SpawnNamed(name string, p *Props) (*Ref, error) {
	spawn := (*Context).spawn
	for _, wrap := range slices.Backward(c.cell.props.Spawn) {
		spawn = wrap(spawn)
	}
	return spawn(c, name, p)
}

func (c *Context) spawn(name string, p *Props) (*Ref, error) {
	if err := p.check(true); err != nil {
		return nil, err
	}
	if c.cell.phase >= stopping {
		return nil, core.WithDelivery(fmt.Errorf("actor: spawn: %s is stopping: %w", c.Self(), core.ErrStopped), core.Undelivered)
	}
	m := c.cell.extra()
	if name == "" {
		m.childSeq++
		name = fmt.Sprintf("$%d", m.childSeq)
	}
	ref, err := c.cell.ref.sys.spawn(c.cell.ref.id+"/"+name, p, nil, c.cell)
	if err != nil {
		return nil, err
	}
	if m.children == nil {
		m.children = make(map[string]*cell)
	}
	m.children[ref.id] = ref.cell.Load()
	return ref, nil
}

// Stop stops this actor after the message in hand; queued messages become dead letters.
func (c *Context) Stop() {
	if c.cell.phase == live {
		c.cell.phase = leaving
	}
}

// StopIfIdle stops this actor after the message in hand if no message waits for it, queued or stashed, and
// reports whether it does. Nothing is lost: a message sent before is handled, one sent after is refused as not
// delivered.
func (c *Context) StopIfIdle() bool {
	stashed := c.cell.more != nil && len(c.cell.more.stash) > 0
	if c.cell.phase != live || !c.cell.box.closeIfIdle(stashed || c.cell.consumerHolds()) {
		return false
	}
	c.cell.phase = leaving
	return true
}

// Refuse makes the mailbox refuse messages with err from now on, as not delivered; those queued are
// handled. For an actor that is to be drained.
func (c *Context) Refuse(err error) {
	c.cell.box.refuse(core.WithDelivery(err, core.Undelivered))
}

// Watch asks for a *Terminated when the actor to ends, at once if it is gone.
func (c *Context) Watch(to *Ref) { c.cell.watch(to) }

// Unwatch takes Watch back: no *Terminated of to comes after it.
func (c *Context) Unwatch(to *Ref) { c.cell.unwatch(to) }

// Stash keeps the message in hand for UnstashAll; in a continuation that is the message it goes on with.
// core.ErrOverloaded says that the stash is full: 4,096 messages or 64 MiB. core.ErrInvalid: there is no
// message, in a timer.
func (c *Context) Stash() error { return c.cell.stashPresent() }

// UnstashAll puts the stashed messages before all that are queued, in the order in which they came. A
// restart does that too.
func (c *Context) UnstashAll() { c.cell.unstash() }

// Become lets f handle messages from the next one on, in place of the present behaviour.
func (c *Context) Become(f ReceiveFunc) {
	m := c.cell.extra()
	if n := len(m.behaviors); n > 0 {
		m.behaviors[n-1] = f
		return
	}
	m.behaviors = append(m.behaviors, f)
}

// BecomeStacked lets f handle messages until Unbecome.
func (c *Context) BecomeStacked(f ReceiveFunc) {
	m := c.cell.extra()
	m.behaviors = append(m.behaviors, f)
}

// Unbecome goes back to the behaviour before the last BecomeStacked or Become, in the end to
// Actor.Receive. A restart goes back all the way.
func (c *Context) Unbecome() {
	if m := c.cell.extra(); len(m.behaviors) > 0 {
		m.behaviors[len(m.behaviors)-1] = nil
		m.behaviors = m.behaviors[:len(m.behaviors)-1]
	}
}

// SetReceiveTimeout makes the actor get a ReceiveTimeout whenever for d no message came; 0 ends that.
// Messages that are a NoReset do not count.
func (c *Context) SetReceiveTimeout(d time.Duration) { c.cell.setReceiveTimeout(d) }

// After runs f as a turn of this actor in d, until stop is called, from any goroutine, or the
// incarnation ends.
func (c *Context) After(d time.Duration, f func(c *Context)) (stop func()) {
	return c.cell.addTimer(d, 0, f)
}

// Every runs f as a turn of this actor every d, until stop is called, from any goroutine, or the
// incarnation ends. It does not drift; ticks that the actor was too slow for are left out. A d of zero
// or less never runs.
func (c *Context) Every(d time.Duration, f func(c *Context)) (stop func()) {
	if d <= 0 {
		return func() {}
	}
	return c.cell.addTimer(d, d, f)
}

// The bounds of a stash; who fills it has a message that is never unstashed.
const (
	stashLimit = DefaultMailboxSize
	stashBytes = DefaultMailboxBytes // as Sizers tell; one larger message fits an empty stash
)

// stashPresent keeps the message in hand for later, with its sender, header and answer.
func (c *cell) stashPresent() error {
	m := c.extra()
	it := *c.ctx.item
	if it.env.Message == nil && it.kind == itemCall {
		return fmt.Errorf("actor: stash of %s: a timer has no message: %w", &c.ref, core.ErrInvalid)
	}
	if held := m.stashed + int64(it.size); len(m.stash) >= stashLimit || held > stashBytes && held > int64(it.size) {
		return fmt.Errorf("actor: stash of %s: %w: it holds %d messages, %d bytes; unstash them", &c.ref, core.ErrOverloaded, len(m.stash), m.stashed)
	}
	switch it.kind {
	case itemCall:
		it.kind = itemAgain
	case itemEnded, itemTimeout:
		it.kind = itemUser // it was found due: it comes as it is
	}
	m.stash = append(m.stash, it)
	m.stashed += int64(it.size)
	c.ctx.item.env.Reply = nil // the answer is due when the message comes again
	return nil
}

// unstash puts the stash before all queued messages, in the order in which the messages came. What is
// still to be handled of an earlier unstash came later than what was stashed again meanwhile.
func (c *cell) unstash() {
	m := c.more
	if m == nil || len(m.stash) == 0 {
		return
	}
	m.ready = append(m.stash, m.ready...)
	m.stash, m.stashed = nil, 0
}

// holdsMessages reports whether user messages wait for their turn.
func (c *cell) holdsMessages() bool {
	if c.consumerHolds() {
		return true
	}
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	return c.box.hasFirst || c.box.head != nil || c.box.side != nil && c.box.side.queue.len() > 0
}

// consumerHolds is about messages that the turn took out of the mailbox and has not begun.
func (c *cell) consumerHolds() bool {
	if c.more != nil && len(c.more.ready) > 0 {
		return true
	}
	return c.current != nil && c.current.head < c.current.tail
}
