package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connector"
)

// endpoint is a peer as the local runtime sees it: an actor.Process. Behind it is at most one
// connection at a time: for a member one that this side dialled, for a client the one it opened. A
// connector decides when to dial; one goroutine feeds it and does what it says.
type endpoint struct {
	r      *Remote
	member core.Member // ID and address never change
	client bool
	heard  *heard
	told   told

	cur     atomic.Pointer[conn]    // takes messages; nil: none does now
	last    atomic.Pointer[error]   // why there is none
	linked  atomic.Bool             // cur is open
	refused atomic.Pointer[refused] // the latest answer to a sender
	closed  atomic.Pointer[error]   // for good, and why

	mu     sync.Mutex
	events []connector.Event
	wake   chan struct{}
	final  error // reason of the close
}

var errNotConnected = fmt.Errorf("not connected: %w", core.ErrUnreachable)

func (r *Remote) newEndpoint(m core.Member, client bool) *endpoint {
	ep := &endpoint{r: r, member: m, client: client, heard: new(heard), wake: make(chan struct{}, 1)}
	ep.last.Store(&errNotConnected)
	return ep
}

// Send queues e for a process of the peer. It never blocks.
func (ep *endpoint) Send(target core.PID, e actor.Envelope) error {
	c := ep.cur.Load()
	if c == nil {
		if next := ep.successor(); next != nil {
			return next.Send(target, e)
		}
		return ep.refusal()
	}
	err := c.send(target, &e)
	if err == nil {
		return nil
	}
	return ep.again(c, err, func(c *conn) error { return c.send(target, &e) })
}

// again sends once more if the connection ended meanwhile and another took its place.
func (ep *endpoint) again(c *conn, err error, send func(*conn) error) error {
	select {
	case <-c.done:
	default:
		return err
	}
	if next := ep.cur.Load(); next != nil && next != c {
		return send(next)
	}
	return err
}

// post sends a message of the runtime.
func (ep *endpoint) post(o *outgoing) error {
	c := ep.cur.Load()
	if c == nil {
		if next := ep.successor(); next != nil {
			return next.post(o)
		}
		return ep.refusal()
	}
	err := c.w.send(o, ofRuntime)
	if errors.Is(err, errFlooded) {
		ep.r.group.Go("remote: end", func() { c.end(errFlooded) })
	}
	if err == nil {
		return nil
	}
	return ep.again(c, err, func(c *conn) error { return c.w.send(o, ofRuntime) })
}

// successor is the endpoint that took the place of this one: references keep theirs, and a member that
// was taken for a leaver may come back.
func (ep *endpoint) successor() *endpoint {
	if ep.closed.Load() == nil {
		return nil
	}
	ep.r.mu.Lock()
	defer ep.r.mu.Unlock()
	if next := ep.r.endpoints[ep.member.ID]; next != ep {
		return next
	}
	return nil
}

// refusal is why nothing is taken.
func (ep *endpoint) refusal() error {
	if err := ep.gone(); err != nil {
		return err
	}
	return ep.refuse(ep.last.Load())
}

// refused is what senders are told, and why.
type refused struct {
	why *error
	err error
}

// refuse makes the error once for each reason: many callers may try again and again while a member is away.
func (ep *endpoint) refuse(why *error) error {
	if r := ep.refused.Load(); r != nil && r.why == why {
		return r.err
	}
	r := &refused{why, undelivered(fmt.Errorf("remote: send to member %s at %s: %w", ep.member.ID, ep.member.Address, *why))}
	ep.refused.Store(r)
	return r.err
}

// gone is the reason for which the endpoint was closed, or nil.
func (ep *endpoint) gone() error {
	reason := ep.closed.Load()
	if reason == nil {
		return nil
	}
	return ep.refuse(reason)
}

// event queues ev for the endpoint's goroutine.
func (ep *endpoint) event(ev connector.Event) {
	ep.mu.Lock()
	ep.events = append(ep.events, ev)
	ep.mu.Unlock()
	nudge(ep.wake)
}

// nudge wakes the one goroutine that reads c, whose one place remembers it if that is busy.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends the endpoint for good.
func (ep *endpoint) close(reason error) {
	ep.mu.Lock()
	if ep.final == nil {
		ep.final = reason
	}
	ep.mu.Unlock()
	if ep.closed.CompareAndSwap(nil, &reason) {
		ep.r.noteTerminated(ep, reason)
	}
	if ep.client {
		if c := ep.cur.Swap(nil); c != nil {
			c.end(reason)
		}
		return
	}
	ep.event(connector.Close)
}

// start begins the first dial, so that messages may be queued when it returns.
func (ep *endpoint) start() {
	m := connector.New(ep.r.limits.BackoffMin, ep.r.limits.BackoffMax, ep.r.chance().Float64)
	if m.Step(ep.r.clock.Now(), connector.Start).Dial {
		ep.begin()
	}
	ep.r.group.Go("remote: endpoint", func() { ep.run(m) })
}

// run is the endpoint's goroutine: it feeds the connector and carries out what it says.
func (ep *endpoint) run(m *connector.Machine) {
	stop := func() bool { return false }
	for m.State() != connector.Closed {
		<-ep.wake
		ep.mu.Lock()
		events := ep.events
		ep.events = nil
		ep.mu.Unlock()
		for _, ev := range events {
			do := m.Step(ep.r.clock.Now(), ev)
			if do.Stop {
				stop()
			}
			if do.End {
				ep.drop()
			}
			if do.Pause > 0 {
				stop = ep.r.clock.AfterFunc(do.Pause, func() { ep.event(connector.Timer) })
			}
			if do.Dial {
				ep.begin()
			}
		}
	}
}

// drop ends the present connection.
func (ep *endpoint) drop() {
	ep.mu.Lock()
	reason := ep.final
	ep.mu.Unlock()
	if c := ep.cur.Load(); c != nil {
		c.end(reason)
	}
}

// begin makes the next connection; messages may be queued on it at once.
func (ep *endpoint) begin() {
	epoch := ep.r.epoch.Add(1)
	c := ep.r.newConn(&Peer{Member: ep.member, Epoch: epoch}, ep.heard)
	c.ep = ep
	ep.cur.Store(c)
	ep.r.group.Go("remote: link", func() { ep.live(c, epoch) })
}

// live is the life of one connection that this side dials.
func (ep *endpoint) live(c *conn, epoch uint64) {
	l, err := ep.connect(c, epoch)
	if err == nil && !c.attach(l) {
		err = c.reason
	}
	if err != nil {
		c.end(err)
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			ep.r.noteRefused(ep, refused)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			ep.r.noteAbsent(ep)
		}
		ep.event(failure(err))
		return
	}
	ep.r.hear(ep.heard) // the answer to the hello
	ep.r.noteConnected(ep)
	ep.linked.Store(true)
	if c.over.Load() { // it has ended meanwhile; lost, which comes after over, may have been here already
		ep.linked.Store(false)
	}
	ep.event(connector.Opened)
	ep.r.poke()
	ep.r.rewatch(ep)
	c.read(l)
	ep.event(connector.Lost)
}

// lost notes that c takes nothing more.
func (ep *endpoint) lost(c *conn, err error) {
	err = unreachable(err)
	ep.last.Store(&err)
	if ep.cur.CompareAndSwap(c, nil) {
		ep.linked.Store(false)
	}
}

// failure tells a refusal that will not change soon from one that may.
func failure(err error) connector.Event {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		return connector.Failed
	}
	switch refused.Reason {
	case RefusedOverloaded, RefusedEpoch, RefusedIdentity:
		return connector.Failed
	}
	return connector.Final
}

// connect dials and shakes hands. It ends when c does.
func (ep *endpoint) connect(c *conn, epoch uint64) (link, error) {
	if err := ep.r.cfg.checkPlaintext("dial", ep.member.Address); err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ep.r.root)
	defer cancel(nil)
	// The peer may wait for its view for as long as a handshake, so this side waits for two.
	limit := 2 * ep.r.limits.Handshake
	stop := ep.r.clock.AfterFunc(limit, func() {
		cancel(fmt.Errorf("no link in %v: %w", limit, core.ErrUnreachable))
	})
	defer stop()
	finished := make(chan struct{})
	defer close(finished)
	ep.r.group.Go("remote: dial", func() {
		select {
		case <-c.done:
			cancel(c.reason)
		case <-finished:
		}
	})
	l, err := ep.r.opener.open(ctx, ep.member.Address)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { l.close(context.Cause(ctx)) })
	err = ep.greet(l, epoch)
	if !unhook() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		l.close(err)
		return nil, err
	}
	return l, nil
}

// greet sends the hello and reads the answer. Whose certificate is another member's is told nothing.
func (ep *endpoint) greet(l link, epoch uint64) error {
	cfg := &ep.r.cfg
	if id := l.identity(); id.proven && id.member != "" && id.member != ep.member.ID {
		return &RefusedError{Address: ep.member.Address, Reason: RefusedIdentity,
			Text: fmt.Sprintf("the certificate there is that of %q, %q was meant", id.member, ep.member.ID)}
	}
	h := hello{
		member: cfg.Member, address: ep.r.address, client: cfg.Client, cluster: cfg.Cluster,
		protocol: Protocol(), epoch: epoch, target: ep.member.ID,
	}
	frame, err := h.frame()
	if err != nil {
		return fmt.Errorf("remote: handshake: %w", err)
	}
	sent := errors.Join(l.append(&outFrame{data: frame}), l.flush())
	answer, err := l.next() // also when it was not sent: it knows why
	if err != nil {
		return errors.Join(err, sent)
	}
	return parseResponse(answer, h, ep.member.Address)
}

var _ actor.Process = (*endpoint)(nil)
