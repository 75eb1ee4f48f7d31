package cluster

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
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

// processBroadcast takes messages for the event stream of its member.
const processBroadcast = "$broadcast"

// MaxBroadcast bounds the encoded size of a message that is broadcast, in bytes.
const MaxBroadcast = 256 << 10

// maxBroadcastDepth bounds the nesting of one that came from another member.
const maxBroadcastDepth = 100

// Outcome is what became of a broadcast at one member.
type Outcome struct {
	Member core.MemberID
	// Err is nil once the message is on the member's event stream. Else core.DeliveryOf tells whether it
	// may be: core.Undelivered means that it is not, and will not be.
	Err error
}

// Broadcast puts a copy of m on the event stream of every member of the installed view, this one included
// (Events; actor.SubscribeOf[*T]), and returns what became of it at each, in ascending order of ID. It is
// sent once to each, and waited for until ctx ends, or for 5 s if it has no deadline. Whether anybody has
// subscribed there is not told.
//
// The type of m has to be in Config.Broadcasts, here and there; a member that does not know it refuses.
// MaxBroadcast bounds its size. Clients may neither send nor get broadcasts. The error is about the whole,
// and then nothing was sent: core.ErrInvalid (nil, too large), core.ErrUnsupported (the type, a client),
// core.ErrStopped (before Start or after Stop).
func (n *Node) Broadcast(ctx context.Context, m proto.Message) ([]Outcome, error) {
	message, err := n.broadcastable(ctx, m)
	if err != nil {
		return nil, core.WithDelivery(fmt.Errorf("cluster: broadcast: %w", err), core.Undelivered)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	var out []Outcome
	waiting := map[int]pending{}
	for to := range n.View().All() {
		o := Outcome{Member: to.ID}
		if to.ID == n.id {
			o.Err = n.publishMessage(message)
		} else {
			var p pending
			w := &wireform.Envelope{Type: wireform.TypeProcess, Message: message}
			if p, o.Err = n.begin(ctx, to, processBroadcast, w); o.Err == nil {
				waiting[len(out)] = p
			}
		}
		out = append(out, o)
	}
	for i := range out {
		if p, sent := waiting[i]; sent {
			_, out[i].Err = p.wait(ctx)
		}
	}
	return out, nil
}

// broadcastable is m as it is sent, or why it cannot be.
func (n *Node) broadcastable(ctx context.Context, m proto.Message) (core.Message, error) {
	switch {
	case n.cfg.Client:
		return core.Message{}, fmt.Errorf("a client is no member, and members take broadcasts of members only: %w", core.ErrUnsupported)
	case m == nil || !m.ProtoReflect().IsValid():
		return core.Message{}, fmt.Errorf("the message is nil: %w", core.ErrInvalid)
	case !n.open.Load() || n.View() == nil:
		return core.Message{}, fmt.Errorf("the node is not running: %w", core.ErrStopped)
	}
	name := string(m.ProtoReflect().Descriptor().FullName())
	if n.broadcasts[name] == nil {
		return core.Message{}, fmt.Errorf("the type %s is not in Config.Broadcasts: %w", name, core.ErrUnsupported)
	}
	data, err := proto.Marshal(m)
	switch {
	case err != nil:
		return core.Message{}, fmt.Errorf("encode %s: %w: %w", name, err, core.ErrInvalid)
	case len(data) > MaxBroadcast:
		return core.Message{}, fmt.Errorf("a %s of %d bytes, the limit is %d: %w", name, len(data), MaxBroadcast, core.ErrInvalid)
	}
	return core.Message{Type: name, Data: data}, ctx.Err()
}

// publishMessage puts a message on the own event stream. Each member gets a copy of its own, the sender
// too, so that none can change what others see.
func (n *Node) publishMessage(m core.Message) error {
	typ := n.broadcasts[m.Type]
	switch {
	case typ == nil:
		return core.WithDelivery(fmt.Errorf("cluster: broadcast: member %s does not take the type %.80q; it is not in its Config.Broadcasts: %w", n.id, m.Type, core.ErrUnsupported), core.Undelivered)
	case len(m.Data) > MaxBroadcast:
		return core.WithDelivery(fmt.Errorf("cluster: broadcast: %d bytes, the limit is %d: %w", len(m.Data), MaxBroadcast, core.ErrInvalid), core.Undelivered)
	}
	out := typ.New().Interface()
	if err := (proto.UnmarshalOptions{RecursionLimit: maxBroadcastDepth}).Unmarshal(m.Data, out); err != nil {
		return core.WithDelivery(fmt.Errorf("cluster: broadcast: decode %s: %w: %w", m.Type, err, core.ErrInvalid), core.Undelivered)
	}
	n.Events().Publish(out)
	return nil
}

// handleBroadcast takes the broadcast of another member.
func (n *Node) handleBroadcast(_ context.Context, _ core.Member, _ *wireform.Stamp, m core.Message) (core.Message, error) {
	return core.Message{Type: messageTaken}, n.publishMessage(m)
}

// messageTaken is the answer to a broadcast.
const messageTaken = "granary.Taken"

// broadcastTypes are those of Config.Broadcasts by their names.
func (c Config) broadcastTypes() (map[string]protoreflect.MessageType, error) {
	types := map[string]protoreflect.MessageType{}
	for i, m := range c.Broadcasts {
		if m == nil {
			return nil, fmt.Errorf("cluster: Broadcasts: message %d is nil: %w", i, core.ErrInvalid)
		}
		typ := m.ProtoReflect().Type()
		name := string(typ.Descriptor().FullName())
		if before := types[name]; before != nil && before != typ {
			return nil, fmt.Errorf("cluster: Broadcasts: two Go types are named %s: %w", name, core.ErrInvalid)
		}
		types[name] = typ
	}
	return types, nil
}

// Ended activations are told to the members in batches: whichever of the two comes first.
const (
	noticeDelay = 5 * time.Millisecond
	noticeBatch = 256
)

// notices gathers the ends of activations for the other members, whose caches then drop them.
type notices struct {
	mu    sync.Mutex
	ends  []core.Activation
	timer func() bool // nil: none runs
}

// ended is told once an activation, after its last turn.
func (n *Node) ended(a *activation) {
	if n.released != nil {
		func() {
			defer n.caught("the lookup's Released")
			n.released.Released(a.Activation(), a.why)
		}()
	}
	if n.tellsEnds {
		n.notices.add(n, a.Activation())
	}
}

func (s *notices) add(n *Node, a core.Activation) {
	s.mu.Lock()
	s.ends = append(s.ends, a)
	if len(s.ends) >= noticeBatch {
		ends := s.takeLocked()
		s.mu.Unlock()
		n.tellEnds(ends)
		return
	}
	if s.timer == nil {
		s.timer = n.clock.AfterFunc(noticeDelay, func() { n.tellEnds(s.take()) })
	}
	s.mu.Unlock()
}

func (s *notices) take() []core.Activation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked()
}

func (s *notices) takeLocked() []core.Activation {
	ends := s.ends
	s.ends = nil
	if s.timer != nil {
		s.timer()
		s.timer = nil
	}
	return ends
}

// tellEnds sends one batch to every other member. It is a hint: nobody waits for it, and what is
// lost costs a caller one try.
func (n *Node) tellEnds(ends []core.Activation) {
	if len(ends) == 0 {
		return
	}
	for _, ref := range n.views.current.Load().refs {
		_ = ref.Send(actor.Envelope{Message: &wireform.Ends{Ends: ends}}) // a member that cannot be reached has nothing to drop that it would not find out
	}
}

// dropEnded takes the notices of a member about activations of its own.
func (n *Node) dropEnded(m *remote.Inbound) error {
	err := wireform.EachEnd(m.Data, func(a core.Activation) {
		if a.PID.Member == m.From.Member.ID && !simbug.On("cache-keeps-stopped") { // a member speaks for itself only
			n.cache.Drop(a.Identity, a.PID)
		}
	})
	if err != nil {
		return core.WithDelivery(err, core.Undelivered)
	}
	return nil
}
