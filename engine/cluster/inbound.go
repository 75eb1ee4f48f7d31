package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/wireform"
	"github.com/granary-go/granary/engine/remote"
)

// inCall is a call from another member or from a client, from its arrival to its answer.
type inCall struct {
	node     *Node
	req      wireform.Request
	size     int
	from     *remote.Peer
	number   uint64 // of the request on its connection
	headers  map[string]string
	reply    actor.Replier // nil: nobody waits
	replyID  uint64
	method   *grain.MethodSpec
	arrived  time.Time // zero: without a deadline
	patience time.Time // until when it waits for a view; zero: it has not waited yet
	state    atomic.Uint32
	turn     atomic.Pointer[turnContext] // while the method runs
	routed   atomic.Bool                 // it stands in the node's table of calls under way
}

// Size is what the call holds of its mailbox's bytes.
func (in *inCall) Size() int { return in.size }

// arrive reads what came. The error refuses it; it is not delivered.
func (n *Node) arrive(m *remote.Inbound, e *actor.Envelope) (*inCall, error) {
	in := &inCall{node: n, size: len(m.Data), from: m.From, number: m.RequestID, headers: e.Header, reply: e.Reply, replyID: e.ReplyID}
	if err := wireform.ParseRequest(m.Data, &in.req); err != nil {
		return nil, refuse(grain.InvalidArgument, err)
	}
	if in.req.Remaining > 0 {
		in.arrived = n.clock.Now()
	}
	return in, nil
}

// bind finds the kind's method.
func (in *inCall) bind(k *kind, id core.Identity) error {
	m, ok := k.Method(int(in.req.Index), "")
	if !ok || len(in.req.Method) > 0 && m.Name != string(in.req.Method) {
		m, ok = k.Method(int(in.req.Index), string(in.req.Method))
	}
	if !ok {
		return grain.UnknownMethod(id, int(in.req.Index), string(in.req.Method))
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
// runtime answers for a grain (a dead letter, a panic) passes here as well.
func (in *inCall) Reply(_ uint64, v any, err error) {
	in.node.routed.forget(in)
	if in.reply != nil {
		in.reply.Reply(in.replyID, v, err)
	}
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
	if a.broken.Load() {
		in.Reply(0, nil, in.placed(a, errStopping(a.id)))
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
		return nil, core.WithDelivery(fmt.Errorf("cluster: call of %s: its caller gave up while it was queued: %w", a.id, context.Canceled), core.Undelivered)
	}
	if a.failed != nil {
		a.told = true
		return nil, a.failed
	}
	turn := f.newTurn(a.node.base, in.from.Member, in.headers, in.chain())
	defer turn.cancel(context.Canceled)
	if !in.arrived.IsZero() {
		turn.deadline = in.arrived.Add(in.req.Remaining)
	}
	if limit := in.method.Timeout; limit > 0 {
		if at := a.node.clock.Now().Add(limit); turn.deadline.IsZero() || at.Before(turn.deadline) {
			turn.deadline = at
		}
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
	v, err := a.invoke(turn, in.method, arg)
	if err != nil {
		a.logOneWay(in.method, err)
		return nil, in.placed(a, err)
	}
	if in.reply == nil {
		return nil, nil
	}
	out := &wireform.Response{}
	if in.req.Routed {
		out.Place = a.place
	}
	if out.Data, err = in.method.EncodeReply(v, nil); err != nil {
		return nil, in.placed(a, core.WithDelivery(err, core.Delivered))
	}
	return out, nil
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
	return &wireform.Placed{Err: err, Place: a.place}
}
