package remote

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connguard"
)

// Reasons for the end of a connection that are not errors of the link.
var (
	errDisconnected = fmt.Errorf("the peer ends the connection: %w", core.ErrUnreachable)
	errReplaced     = fmt.Errorf("a newer connection of the same member replaces it: %w", core.ErrUnreachable)
	errLeft         = fmt.Errorf("the member has left the view: %w", core.ErrUnreachable)
	errBlocked      = fmt.Errorf("the member is blocked: %w", core.ErrUnreachable)
	errStopping     = fmt.Errorf("remoting stops: %w", core.ErrStopped)
)

// conn is one epoch of a connection with one peer: from the moment its first message may be queued to
// its end, which fails everything outstanding. It answers the asks that came by it, each by its inAsk.
type conn struct {
	r        *Remote
	peer     *Peer
	id       identity // of whoever opened it; of an accepted one
	w        *writer
	heard    *heard           // of the peer
	ep       *endpoint        // whose dial it is; nil: it was accepted
	share    *connguard.Share // of the client that opened it; nil: it is no client's
	in       reader           // of the reading goroutine
	open     atomic.Int64     // asks of the peer without an answer
	leaving  atomic.Bool      // the peer has said goodbye: the last answers are awaited
	mayClose atomic.Bool      // and awaits nothing
	over     atomic.Bool      // nothing that came by it is delivered any more

	tallyMu sync.Mutex
	tally   tally

	mu     sync.Mutex
	link   link // nil: not connected yet
	done   chan struct{}
	reason error // set before done is closed
}

func (r *Remote) newConn(p *Peer, h *heard) *conn {
	return &conn{
		r: r, peer: p, heard: h, done: make(chan struct{}),
		w: newWriter(r.limits, &r.frames, fmt.Sprintf("member %s at %s", p.Member.ID, p.Member.Address), r.address, p.Member.Address),
	}
}

// attach lets traffic flow over l. It is false if the connection has ended before; l is then closed.
func (c *conn) attach(l link) bool {
	c.mu.Lock()
	select {
	case <-c.done:
		c.mu.Unlock()
		l.close(c.reason)
		return false
	default:
	}
	c.link = l
	c.mu.Unlock()
	c.w.open()
	c.r.group.Go("remote: write", func() {
		if err := c.w.flush(l, c.done); err != nil {
			c.end(err)
		}
	})
	return true
}

// connected reports whether there is a link.
func (c *conn) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// read routes frames until the link ends.
func (c *conn) read(l link) {
	for {
		frame, err := l.next()
		if err == nil {
			c.r.hear(c.heard)
			err = c.receive(frame)
		}
		if err != nil {
			if c.leaving.Load() {
				err = errDisconnected
			}
			c.end(err)
			return
		}
	}
}

// send queues e for a process of the peer.
func (c *conn) send(target core.PID, e *actor.Envelope) error {
	o := outgoing{target: target.ID, msg: e.Message, header: e.Header}
	if e.Sender != nil {
		// A sender elsewhere is left out: the peer accepts senders of this member only.
		if pid := e.Sender.PID(); pid.Member == c.r.cfg.Member {
			o.sender = pid.ID
		}
	}
	if e.Reply == nil {
		return c.w.send(&o, ofUser)
	}
	return c.w.sendAsk(&o, e.Reply, e.ReplyID, e.Reply == c.r.replier, c.r.tick.Load())
}

// Reply answers an ask that came by this connection; it is called once an ask. An answer that cannot be encoded is an error for
// the asker; when the connection has ended, the asker knows already.
func (c *conn) Reply(id uint64, msg any, err error) {
	o := outgoing{replyTo: id, msg: msg}
	switch {
	case err != nil:
		o.msg = c.r.cfg.Errors.EncodeError(err)
	case msg == nil:
		o.msg = core.Message{Type: typeNil}
	}
	failed := c.answer(&o)
	if failed != nil && !errors.Is(failed, errFlooded) && err == nil {
		o.msg = c.r.cfg.Errors.EncodeError(core.WithDelivery(fmt.Errorf("remote: the answer: %w", failed), core.Delivered))
		_ = c.answer(&o) // the link ends, or has ended
	}
	if c.open.Add(-1) == 0 && c.r.draining.Load() {
		c.r.poke()
	}
}

// answer sends what answers an ask. Who does not read answers loses the link.
func (c *conn) answer(o *outgoing) error {
	err := c.w.send(o, ofRuntime)
	if errors.Is(err, errFlooded) {
		c.r.group.Go("remote: end", func() { c.end(errFlooded) })
	}
	if c.share != nil && c.share.Over() {
		c.r.relieve()
	}
	return err
}

// leave is what a DisconnectRequest asks for: nothing new goes to the peer, and the link ends when the
// last answer and the last receipt are here, or a little later. So what was on its way when the peer said
// goodbye is answered and accounted for like everything else.
func (c *conn) leave(request []byte) error {
	settled, err := parseDisconnect(request)
	if err != nil {
		return err
	}
	c.w.refuse(c.farewell())
	if c.ep != nil {
		c.ep.lost(c, errDisconnected)
	}
	if settled {
		c.mayClose.Store(true)
	}
	if !c.leaving.Swap(true) {
		c.r.clock.AfterFunc(stopGrace, func() { c.end(errDisconnected) })
	}
	return c.parted()
}

// farewell is why a link whose peer has said goodbye takes nothing new.
func (c *conn) farewell() error {
	return fmt.Errorf("remote: send to member %s at %s: %w", c.peer.Member.ID, c.peer.Member.Address, errDisconnected)
}

// parted goes on with the end of a link whose peer has said goodbye, once this side awaits nothing: the
// peer is told so, and the link is closed when the peer has said the same. What the side that closes has
// just written may be lost, and so nobody closes while the other awaits something.
func (c *conn) parted() error {
	if !c.leaving.Load() || !c.w.settled() {
		return nil
	}
	if c.mayClose.Load() {
		return errDisconnected
	}
	c.sendReceipt(true)
	c.w.goodbye(c.farewell(), true)
	return nil
}

// end ends the connection once: asks fail, what was not written becomes dead letters.
func (c *conn) end(reason error) {
	c.over.Store(true)
	left, first := c.w.end(fmt.Errorf("remote: link to member %s at %s has ended: %w", c.peer.Member.ID, c.peer.Member.Address, unreachable(reason)))
	if !first {
		return
	}
	if c.ep != nil { // before anybody learns of the end, so that nobody tries this link again
		c.ep.lost(c, reason)
	}
	c.mu.Lock()
	c.reason = reason
	close(c.done)
	l := c.link
	c.mu.Unlock()
	c.endReceipts()
	c.fail(left, reason)
	if l != nil {
		l.close(reason)
	}
	c.r.log.LogAttrs(c.r.root, levelOf(reason), "remote: link ended",
		attrMember(c.peer.Member.ID), attrEpoch(c.peer.Epoch), attrError(reason))
	c.r.poke()
}

// unreachable makes reason a core.ErrUnreachable, if it is not one.
func unreachable(reason error) error {
	if errors.Is(reason, core.ErrUnreachable) {
		return reason
	}
	return fmt.Errorf("%w: %w", core.ErrUnreachable, reason)
}

// fail tells everybody who waits for something that left holds.
func (c *conn) fail(left lost, reason error) {
	to := fmt.Sprintf("member %s at %s", c.peer.Member.ID, c.peer.Member.Address)
	unknown := core.WithDelivery(fmt.Errorf("remote: ask to %s: the link ended before the answer: %w", to, unreachable(reason)), core.DeliveryUnknown)
	unsent := undelivered(fmt.Errorf("remote: ask to %s: the link ended before it was sent: %w", to, unreachable(reason)))
	for _, a := range left.asks {
		if a.seq <= left.sent {
			a.reply.Reply(a.id, nil, unknown)
		} else {
			a.reply.Reply(a.id, nil, unsent)
		}
	}
	for _, f := range left.frames {
		c.deadLetters(f.data, reason)
	}
	c.unreported(left, reason)
}

// deadLetters reports the messages of a frame that was never written. Asks among them have been told.
func (c *conn) deadLetters(frame []byte, reason error) {
	tag, body, err := frameBody(frame)
	var b batch
	if err != nil || tag != tagBatch || b.parse(body, c.r.limits) != nil || c.r.sys == nil {
		return
	}
	unsent := undelivered(fmt.Errorf("remote: the link to member %s ended before it was sent: %w", c.peer.Member.ID, unreachable(reason)))
	_ = b.each(func(e *envelope) error { // the frame is our own
		if e.requestID != 0 || e.replyTo != 0 {
			return nil
		}
		p, err := parsePID(b.targets[e.target], c.r.limits)
		if err != nil {
			return nil
		}
		name := string(b.types[e.typ])
		if systemType(name) != notSystem {
			return nil
		}
		in := newInbound(name, e.data)
		in.From, in.typ, in.ask.recursion = c.peer, c.r.cfg.Types.find(b.types[e.typ]), int32(c.r.limits.Recursion)
		target := core.PID{Address: string(p.address), ID: string(p.id), Member: c.peer.Member.ID}
		c.r.sys.ReportDeadLetter(actor.DeadLetter{Target: target, Message: in, Count: 1, Err: unsent})
		c.r.count("remote.undelivered")
		return nil
	})
}

// expire gives up asks that have been outstanding for too long.
func (c *conn) expire(tick uint32) {
	for _, a := range c.w.expired(tick, askTicks) {
		a.reply.Reply(a.id, nil, core.WithDelivery(
			fmt.Errorf("remote: ask to member %s: no answer in %v: %w", c.peer.Member.ID, c.r.limits.AskAge, core.ErrUnreachable), core.DeliveryUnknown))
	}
}

var _ actor.Replier = (*conn)(nil)
