package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// ask sends the call to ref on member and waits for the answer.
func (n *Node) ask(ctx context.Context, ref *actor.Ref, member core.MemberID, q *question, routed bool) (grain.Reply, error) {
	if member == n.id {
		return n.askLocal(ctx, ref, q)
	}
	return n.askRemote(ctx, ref, member, q, routed)
}

// askLocal passes the argument by pointer. It allocates nothing.
func (n *Node) askLocal(ctx context.Context, ref *actor.Ref, q *question) (grain.Reply, error) {
	k := n.kinds[q.To.Kind]
	if k == nil {
		return grain.Reply{}, noKind(q.To)
	}
	m, ok := k.Method(q.Index, q.Method)
	if !ok {
		return grain.Reply{}, grain.UnknownMethod(q.To, q.Index, q.Method)
	}
	arg, err := m.Prepare(q.Arg)
	if err != nil {
		return grain.Reply{}, core.WithDelivery(err, core.Undelivered)
	}
	call := newLocalCall(&n.localCalls, ctx, m, arg)
	call.headers, call.chain = q.opts.Headers, q.chain
	if q.tell {
		return grain.Reply{}, n.tellLocal(ref, call)
	}
	state := call.state.Load()
	ask := n.sys.NewAsk()
	e := actor.Envelope{Message: call, Reply: n.sys, ReplyID: ask.ID()}
	var err2 error
	if call.chain == nil { // nothing that the gate would look at
		err2 = ref.SendUngated(e)
	} else {
		err2 = ref.Send(e)
	}
	if err2 != nil {
		ask.Cancel()
		call.release()
		return grain.Reply{}, err2
	}
	v, err := ask.WaitRaw(ctx)
	if err == nil {
		return grain.Reply{Value: v}, nil
	}
	if err == ctx.Err() { //nolint:errorlint // answers are wrapped: this is the end of the wait itself
		delivery := core.DeliveryUnknown
		if call.giveUp(state) {
			delivery = core.Undelivered
		}
		return grain.Reply{}, core.WithDelivery(err, delivery)
	}
	if p, ok := errors.AsType[*actor.PanicError](err); ok {
		err = core.WithDelivery(wireform.MethodPanic(p), core.Delivered)
	}
	return grain.Reply{}, err
}

// tellLocal sends a call whose caller does not wait: its context is the node's.
func (n *Node) tellLocal(ref *actor.Ref, call *localCall) error {
	call.ctx = n.base
	if call.chain == nil {
		call.chain = []core.Identity{}
	}
	err := ref.Send(actor.Envelope{Message: call})
	if err != nil {
		call.release()
	}
	return err
}

// askRemote sends the call to another member.
func (n *Node) askRemote(ctx context.Context, ref *actor.Ref, member core.MemberID, q *question, routed bool) (grain.Reply, error) {
	if !q.wired {
		var err error
		if q.data, q.codec, err = grain.EncodeArg(q.Arg, nil); err != nil {
			return grain.Reply{}, core.WithDelivery(err, core.Undelivered)
		}
		q.wired = true
	}
	req := &wireform.Request{Index: int32(q.Index), Data: q.data, Codec: q.codec, Method: q.Method, Idempotent: q.opts.Idempotent}
	if !q.tell {
		req.Remaining = remaining(ctx)
		for _, id := range q.chain {
			req.Chain = append(req.Chain, id.String())
		}
	}
	if routed {
		req.Routed, req.ID, req.View = true, q.To, wireform.StampOf(n.View())
		if simbug.On("request-without-view") {
			req.View = wireform.Stamp{}
		}
	}
	e := actor.Envelope{Message: req, Header: q.opts.Headers}
	if q.tell {
		return grain.Reply{}, ref.Send(e)
	}
	answer, err := n.exchange(ctx, ref, e)
	if err != nil {
		if place, ok := wireform.PlaceOf(err); ok && routed {
			n.learn(q.To, member, place)
		}
		return grain.Reply{}, err
	}
	out, err := responseOf(answer, q.To)
	if err != nil {
		return grain.Reply{}, err
	}
	n.learn(q.To, member, out.Place)
	return grain.Reply{Data: out.Data}, nil
}

// exchange sends a request to another member and waits for the answer as it comes.
func (n *Node) exchange(ctx context.Context, ref *actor.Ref, e actor.Envelope) (any, error) {
	ask := n.sys.NewAsk()
	e.Reply, e.ReplyID = n.sys, ask.ID()
	if err := ref.Send(e); err != nil {
		ask.Cancel()
		return nil, err
	}
	answer, err := ask.WaitRaw(ctx)
	if err != nil && err == ctx.Err() { //nolint:errorlint // answers are wrapped: this is the end of the wait itself
		_ = ref.Send(actor.Envelope{Message: &wireform.Cancel{Number: ask.ID()}}) // a hint
		err = core.WithDelivery(err, core.DeliveryUnknown)
	}
	return answer, err
}

// responseOf reads the answer of another member.
func responseOf(v any, id core.Identity) (out wireform.Response, err error) {
	in, ok := v.(*remote.Inbound)
	if !ok || in.Type != wireform.TypeGrainResponse {
		return out, core.WithDelivery(grain.Errorf(grain.Internal, "call of %s: the answer is no answer of a grain", id), core.Delivered)
	}
	if err := wireform.ParseResponse(in.Data, &out); err != nil {
		return out, core.WithDelivery(grain.Errorf(grain.Internal, "call of %s: %w", id, err), core.Delivered)
	}
	return out, nil
}

// learn remembers where a member says that it runs id; of others its word is not taken.
func (n *Node) learn(id core.Identity, member core.MemberID, place core.Placement) {
	if place.PID.Member == member && !place.PID.IsZero() {
		n.remember(id, place)
	}
}

// localCall is a call within this process on its way through the mailbox. It is pooled: the turn
// releases it, the caller waits on its reply slot only. Its state carries a generation, so that a
// caller which gives up late cannot take back a later call.
type localCall struct {
	pool    *sync.Pool
	state   atomic.Uint64 // generation, and in the last two bits a phase
	ctx     context.Context
	method  *grain.MethodSpec
	arg     any
	headers map[string]string
	chain   []core.Identity // grains that wait for this call; nil: called from outside of grains
}

const (
	callQueued  = 0
	callRunning = 1
	callGivenUp = 2
	// callCancelled is a running call from the wire whose caller has given up.
	callCancelled = 3
	callPhases    = 4
)

// newLocalCall takes a call from pool, to which release gives it back.
func newLocalCall(pool *sync.Pool, ctx context.Context, m *grain.MethodSpec, arg any) *localCall {
	call, ok := pool.Get().(*localCall)
	if !ok {
		call = &localCall{pool: pool}
	}
	call.ctx, call.method, call.arg = ctx, m, arg
	return call
}

// begin is called by the turn. False: the caller has given up, and the method is not to run.
func (call *localCall) begin() bool {
	s := call.state.Load()
	return s%callPhases == callQueued && call.state.CompareAndSwap(s, s+callRunning)
}

// giveUp is called by the caller with the state it began with. True: the method will not run.
func (call *localCall) giveUp(s uint64) bool { return call.state.CompareAndSwap(s, s+callGivenUp) }

// release ends the generation.
func (call *localCall) release() {
	call.ctx, call.method, call.arg, call.headers, call.chain = nil, nil, nil, nil, nil
	s := call.state.Load()
	call.state.Store(s - s%callPhases + callPhases)
	call.pool.Put(call)
}

// inCall is a call from another member or from a client, from its arrival to its answer, with the context of
// its turn and the answer itself in the same allocation.
type inCall struct {
	node     *Node
	req      wireform.Request
	size     int
	from     *remote.Peer
	number   uint64 // of the request on its connection
	headers  map[string]string
	reply    actor.Replier // nil: nobody waits
	replyID  uint64
	message  remote.Kept // without its bytes, which are req's; if nobody waits it is told of as not handled
	method   *grain.MethodSpec
	arrived  time.Time // zero: without a deadline
	patience time.Time // until when it waits for a view; zero: it has not waited yet
	state    atomic.Uint32
	turn     atomic.Pointer[turnContext] // while the method runs
	routed   atomic.Bool                 // it stands in the node's table of calls under way
	context  toldContext                 // of the turn, once that begins
	answer   wireform.Response
}

// Size is what the call holds of its mailbox's bytes.
func (in *inCall) Size() int { return in.size }

// arrive reads what came. The error refuses it; it is not delivered.
func (n *Node) arrive(m *remote.Inbound, e *actor.Envelope) (*inCall, error) {
	in := &inCall{node: n, size: len(m.Data), from: m.From, number: m.RequestID, headers: e.Header, replyID: e.ReplyID}
	in.reply = in.message.TakeOver(m, e.Reply)
	if err := wireform.ParseRequest(in.message.Data, &in.req); err != nil {
		return nil, refuse(grain.InvalidArgument, err)
	}
	in.message.Data = nil
	if in.req.Remaining > 0 {
		in.arrived = n.clock.Now()
	}
	return in, nil
}

// bind finds the kind's method.
func (in *inCall) bind(k *kind, id core.Identity) error {
	m, ok := k.Method(int(in.req.Index), "")
	if !ok || len(in.req.Name) > 0 && m.Name != string(in.req.Name) {
		m, ok = k.Method(int(in.req.Index), string(in.req.Name))
	}
	if !ok {
		return grain.UnknownMethod(id, int(in.req.Index), string(in.req.Name))
	}
	in.method = m
	return nil
}

// refuse is the error of a call that cannot be taken for what it is.
func refuse(code grain.Code, err error) error {
	return core.WithDelivery(grain.Errorf(code, "%w", err), core.Undelivered)
}

func (in *inCall) key() cancelKey { return cancelKey{in.from, in.number} }

// Reply gives the one answer. The call stands in its own envelope as the Replier, so that what the
// runtime answers for a grain (a dead letter, a panic) passes here as well. The sender of a message for which
// nobody waits hears only that it was not handled.
func (in *inCall) Reply(_ uint64, v any, err error) {
	in.node.routed.forget(in)
	if in.reply != nil {
		in.reply.Reply(in.replyID, v, err)
		return
	}
	if err != nil && core.DeliveryOf(err) == core.Undelivered {
		target := core.PID{ID: processGrain}
		if dead, ok := errors.AsType[*actor.DeadLetterError](err); ok {
			target = dead.Target
		}
		in.message.Undelivered(target, err)
	}
	in.message.Release() // it is no longer held for its client
}

// begin is called by the turn. False: the caller has given up, and the method is not to run.
func (in *inCall) begin() bool { return in.state.CompareAndSwap(callQueued, callRunning) }

// cancel is told by the caller. A call that is still queued will not run.
func (in *inCall) cancel() {
	if in.state.CompareAndSwap(callQueued, callGivenUp) {
		return
	}
	in.state.CompareAndSwap(callRunning, callCancelled) // the turn looks once its context can be found
	if turn := in.turn.Load(); turn != nil {
		turn.cancel(context.Canceled)
	}
}

// remote runs a call that came over the wire, in the activation's mailbox turn.
func (a *activation) remote(in *inCall) {
	if a.marked(broken) {
		in.Reply(0, nil, in.placed(a, errStopping(a.id())))
		return
	}
	a.outer.begin()
	defer a.outer.end()
	a.touch()
	a.running = true
	v, err := a.runRemote(&a.outer, in)
	a.running = false
	in.Reply(0, v, err)
}

// runRemote is the turn of a call that came over the wire.
func (a *activation) runRemote(f *frame, in *inCall) (any, error) {
	if !in.begin() {
		return nil, core.WithDelivery(fmt.Errorf("cluster: call of %s: its caller gave up while it was queued: %w", a.id(), context.Canceled), core.Undelivered)
	}
	if a.failed != nil {
		a.told = true
		return nil, *a.failed
	}
	turn := in.context.begin(f, a.node.base, in.from.Member, in.headers, in.chain())
	defer turn.cancel(context.Canceled)
	if !in.arrived.IsZero() {
		turn.limit(in.arrived.Add(in.req.Remaining))
	}
	if limit := in.method.Timeout; limit > 0 {
		turn.limit(a.node.clock.Now().Add(limit))
	}
	f.runs(turn)
	in.turn.Store(turn)
	defer in.turn.Store(nil)
	if in.state.Load() == callCancelled { // before its context could be found
		turn.cancel(context.Canceled)
	}
	if err := turn.Err(); err != nil {
		return nil, in.placed(a, core.WithDelivery(err, core.Undelivered))
	}
	arg, err := in.method.Decode(in.req.Codec, in.req.Data)
	if err != nil {
		return nil, in.placed(a, core.WithDelivery(err, core.Undelivered))
	}
	in.req.Data, in.req.Name = nil, nil // a handler that keeps its context does not keep these
	v, err := a.invoke(turn, in.method, arg)
	if err != nil {
		a.logOneWay(in.method, err)
		return nil, in.placed(a, err)
	}
	if in.reply == nil {
		return nil, nil
	}
	if in.req.Routed {
		in.answer.Place = a.place()
	}
	if in.answer.Data, err = in.method.EncodeReply(v, nil); err != nil {
		return nil, in.placed(a, core.WithDelivery(err, core.Delivered))
	}
	return &in.answer, nil
}

// chain is the chain of calls that came along.
func (in *inCall) chain() []core.Identity {
	if len(in.req.Chain) == 0 {
		return nil
	}
	out := make([]core.Identity, 0, len(in.req.Chain))
	for _, text := range in.req.Chain {
		if id, err := core.ParseIdentity(text); err == nil { // what is no identity waits for nothing
			out = append(out, id)
		}
	}
	return out
}

// placed tells the caller of a routed call where it went, along with the error.
func (in *inCall) placed(a *activation, err error) error {
	if !in.req.Routed {
		return err
	}
	return &wireform.Placed{Err: err, Place: a.place()}
}
