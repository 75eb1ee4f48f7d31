package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/wireform"
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
	arg, err := grain.PrepareArg(q.Arg)
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
	req := &wireform.Request{Index: int32(q.Index), Data: q.data, Codec: q.codec, Method: []byte(q.Method), Idempotent: q.opts.Idempotent}
	if !q.tell {
		req.Remaining = remaining(ctx)
		for _, id := range q.chain {
			req.Chain = append(req.Chain, id.String())
		}
	}
	if routed {
		req.Routed, req.ID, req.View = true, q.To, wireform.StampOf(n.View())
	}
	e := actor.Envelope{Message: req, Header: q.opts.Headers}
	if q.tell {
		return grain.Reply{}, ref.Send(e)
	}
	ask := n.sys.NewAsk()
	e.Reply, e.ReplyID = n.sys, ask.ID()
	if err := ref.Send(e); err != nil {
		ask.Cancel()
		return grain.Reply{}, err
	}
	answer, err := ask.WaitRaw(ctx)
	if err != nil {
		if err == ctx.Err() { //nolint:errorlint // answers are wrapped: this is the end of the wait itself
			_ = ref.Send(actor.Envelope{Message: &wireform.Cancel{Number: ask.ID()}}) // a hint
			return grain.Reply{}, core.WithDelivery(err, core.DeliveryUnknown)
		}
		if place, ok := wireform.PlaceOf(err); ok && routed {
			n.learn(q.To, member, place)
		}
		return grain.Reply{}, err
	}
	return n.answer(answer, q.To, member)
}

// answer reads the answer of another member.
func (n *Node) answer(v any, id core.Identity, member core.MemberID) (grain.Reply, error) {
	in, ok := v.(*remote.Inbound)
	if !ok || in.Type != wireform.TypeGrainResponse {
		return grain.Reply{}, core.WithDelivery(grain.Errorf(grain.Internal, "call of %s: the answer is no answer of a grain", id), core.Delivered)
	}
	var out wireform.Response
	if err := wireform.ParseResponse(in.Data, &out); err != nil {
		return grain.Reply{}, core.WithDelivery(grain.Errorf(grain.Internal, "call of %s: %w", id, err), core.Delivered)
	}
	n.learn(id, member, out.Place)
	return grain.Reply{Data: out.Data}, nil
}

// learn remembers where a member says that it runs id. A client without a lookup takes its word for
// other members of the view too.
func (n *Node) learn(id core.Identity, member core.MemberID, place core.Placement) {
	if place.PID.IsZero() || place.PID.Member == n.id {
		return
	}
	if place.PID.Member != member {
		if _, there := n.View().Member(place.PID.Member); !there || !n.cfg.Client || n.router != nil {
			return
		}
	}
	n.remember(id, place)
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
