package cluster

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/wireform"
	"github.com/granary-go/granary/engine/remote"
)

// defaultProcessTimeout bounds a request to a process of another member whose ctx has no deadline.
const defaultProcessTimeout = 5 * time.Second

// maxProcessTimeout bounds how long a request of another member may keep a handler, whatever it says.
const maxProcessTimeout = time.Minute

// maxHandling is how many requests one process handles at a time; more are refused as overloaded.
const maxHandling = 4096

// maxProcessData bounds a message between lookups or services.
const maxProcessData = 512 << 10

// handler answers one request.
type handler func(ctx context.Context, from core.Member, view *wireform.Stamp, m core.Message) (core.Message, error)

// process is a raw process of the engine: it answers requests of other members on goroutines of its
// own.
type process struct {
	n        *Node
	name     string
	request  string
	response string
	viewed   bool // requests and answers carry the view
	handle   handler
	busy     atomic.Int64
}

// Send takes one request.
func (p *process) Send(_ core.PID, e actor.Envelope) error {
	in, ok := e.Message.(*remote.Inbound)
	if !ok || in.Type != p.request || in.From == nil {
		return refuse(grain.Unimplemented, fmt.Errorf("cluster: %s takes %s from members only: %w", p.name, p.request, core.ErrUnsupported))
	}
	w := &wireform.Envelope{Type: p.request}
	if p.viewed {
		w.View = &wireform.Stamp{}
	}
	if err := w.Parse(in.Data); err != nil {
		return refuse(grain.InvalidArgument, err)
	}
	if p.busy.Add(1) > maxHandling {
		p.busy.Add(-1)
		return core.WithDelivery(core.Retry(fmt.Errorf("cluster: %s handles %d requests already: %w", p.name, maxHandling, core.ErrOverloaded), retryLimit), core.Undelivered)
	}
	from := in.From.Member
	p.n.group.Go("process "+p.name, func() {
		defer p.busy.Add(-1)
		p.answer(from, w, e)
	})
	return nil
}

func (p *process) answer(from core.Member, w *wireform.Envelope, e actor.Envelope) {
	timeout := min(w.Remaining, maxProcessTimeout)
	if timeout <= 0 {
		timeout = defaultProcessTimeout
	}
	ctx, cancel := context.WithTimeout(p.n.base, timeout)
	defer cancel()
	m, err := p.protect(ctx, from, w)
	if err == nil && len(m.Data) > maxProcessData {
		err = fmt.Errorf("cluster: %s: an answer of %d bytes, the limit is %d: %w", p.name, len(m.Data), maxProcessData, core.ErrInvalid)
	}
	if err != nil {
		reply(e, nil, err)
		return
	}
	out := &wireform.Envelope{Type: p.response, Message: m}
	if p.viewed {
		s := wireform.StampOf(p.n.View())
		out.View = &s
	}
	reply(e, out, nil)
}

// protect calls the handler; its panic is the answer.
func (p *process) protect(ctx context.Context, from core.Member, w *wireform.Envelope) (m core.Message, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.n.log.Error("cluster: panic in a process", "process", p.name, "panic", v)
			err = core.WithDelivery(grain.PanicIn("the process "+p.name, v), core.Delivered)
		}
	}()
	return p.handle(ctx, from, w.View, w.Message)
}

// SendSystem refuses: a process of the engine is neither watched nor stopped.
func (p *process) SendSystem(target core.PID, _ actor.SystemMessage) error {
	return &actor.DeadLetterError{Target: target}
}

// request sends one request to a process of another member and waits for the answer. It is sent at
// most once.
func (n *Node) request(ctx context.Context, to core.Member, name string, w *wireform.Envelope) (core.Message, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	p, err := n.begin(ctx, to, name, w)
	if err != nil {
		return core.Message{}, err
	}
	return p.wait(ctx)
}

// limited is ctx with a deadline.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultProcessTimeout)
}

// pending is a request that is under way. It is to be waited for.
type pending struct {
	n    *Node
	to   core.MemberID
	name string
	w    *wireform.Envelope
	ask  actor.Ask
}

// begin sends a request; ctx has a deadline.
func (n *Node) begin(ctx context.Context, to core.Member, name string, w *wireform.Envelope) (pending, error) {
	p := pending{n: n, to: to.ID, name: name, w: w}
	if err := ctx.Err(); err != nil {
		return p, p.failed(err, core.Undelivered)
	}
	if len(w.Message.Data) > maxProcessData {
		return p, p.failed(fmt.Errorf("a message of %d bytes, the limit is %d: %w", len(w.Message.Data), maxProcessData, core.ErrInvalid), core.Undelivered)
	}
	w.Remaining = remaining(ctx)
	ref := n.sys.Ref(core.PID{Address: to.Address, ID: name, Member: to.ID})
	p.ask = n.sys.NewAsk()
	if err := ref.Send(actor.Envelope{Message: w, Reply: n.sys, ReplyID: p.ask.ID()}); err != nil {
		p.ask.Cancel()
		return p, p.failed(err, core.DeliveryOf(err))
	}
	return p, nil
}

func (p *pending) failed(err error, d core.Delivery) error {
	return core.WithDelivery(fmt.Errorf("cluster: %s on member %s: %w", p.name, p.to, err), d)
}

// wait waits for the answer.
func (p *pending) wait(ctx context.Context) (core.Message, error) {
	answer, err := p.ask.WaitRaw(ctx)
	if err != nil {
		return core.Message{}, p.failed(err, core.DeliveryOf(err))
	}
	in, ok := answer.(*remote.Inbound)
	if !ok {
		return core.Message{}, p.failed(fmt.Errorf("an answer of type %T: %w", answer, core.ErrInvalid), core.Delivered)
	}
	out := &wireform.Envelope{Type: in.Type}
	if p.w.View != nil {
		out.View = &wireform.Stamp{}
	}
	if err := out.Parse(in.Data); err != nil {
		return core.Message{}, p.failed(err, core.Delivered)
	}
	if out.View != nil {
		p.n.noticeStamp(*out.View)
	}
	return out.Message, nil
}

// remaining is how long ctx has still to go; at least one microsecond, 0: without an end. The deadline of a
// context is by package time, whatever the clock of the node says.
func remaining(ctx context.Context) time.Duration {
	at, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return min(max(time.Until(at), time.Microsecond), math.MaxInt64/2)
}

// runtime is what the node lends to a service.
func (n *Node) runtime(name string) grain.Runtime {
	return grain.Runtime{
		Caller: n, Env: n.env(name), Self: n.Self(), View: n.View, Actors: n.sys,
		Handle: n.handleService, Send: n.sendService,
	}
}

// handleService registers a raw process of a service.
func (n *Node) handleService(name string, h grain.Handler) {
	p := &process{n: n, name: name, request: wireform.TypeProcess, response: wireform.TypeProcessAnswer,
		handle: func(ctx context.Context, from core.Member, _ *wireform.Stamp, m core.Message) (core.Message, error) {
			return h(ctx, from, m)
		}}
	if _, err := n.sys.Register(name, p); err != nil {
		n.log.Error("cluster: a process of a service is not reachable", "process", name, "error", err)
		return
	}
	n.handlers.Store(name, p)
	n.remote.AllowRaw(name, wireform.TypeProcess)
}

// sendService reaches a raw process of a service, on this member too.
func (n *Node) sendService(ctx context.Context, to core.Member, name string, m core.Message) (core.Message, error) {
	if p, ok := n.handlers.Load(name); ok && to.ID == n.id {
		return p.(*process).protect(ctx, to, &wireform.Envelope{Message: m})
	}
	return n.request(ctx, to, name, &wireform.Envelope{Type: wireform.TypeProcess, Message: m})
}
