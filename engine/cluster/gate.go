package cluster

import (
	"errors"
	"slices"
	"sync"

	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/wireform"
	"github.com/granary-go/granary/engine/remote"
)

// extras are the parts that few activations need; made when first used.
type extras struct {
	mu     sync.Mutex
	timers map[*timer]struct{}
	inner  map[*frame]*turnContext // reentrant turns that wait or run; nil: its context has yet to be made
	idle   chan struct{}           // closed when inner is empty; made by who waits for that
}

func (a *activation) more() *extras {
	if x := a.extra.Load(); x != nil {
		return x
	}
	a.extra.CompareAndSwap(nil, &extras{})
	return a.extra.Load()
}

// gate sees each message to an activation on its sender's goroutine. What came over the wire is read
// and bound to its method here, so that what is wrong never reaches the mailbox; a cancel takes
// effect at once; a call that comes back through its own chain runs beside the mailbox or is refused.
func gate(target actor.Actor, e *actor.Envelope) (taken bool, err error) {
	a := target.(*activation)
	switch m := e.Message.(type) {
	case *localCall:
		if m.chain == nil || !slices.Contains(m.chain, a.id) || !a.waits(m.method) {
			return false, nil
		}
		own := *e // the gate's envelope is lent
		return a.reenter(m.chain, m.method, func(f *frame) { a.innerLocal(f, m, own) })
	case *inCall:
		return a.gateRemote(m)
	case *remote.Inbound:
		return a.gateWire(m, e)
	}
	return true, refuse(grain.InvalidArgument, errors.New("a grain takes calls only"))
}

func (a *activation) gateWire(m *remote.Inbound, e *actor.Envelope) (taken bool, err error) {
	switch m.Type {
	case wireform.TypeGrainRequest:
		return true, a.arrive(m, e)
	case wireform.TypeCancelCall:
		if number, err := wireform.ParseCancel(m.Data); err == nil { // a hint: what cannot be read is no loss
			a.node.routed.cancel(cancelKey{m.From, number})
		}
		return true, nil
	}
	return true, refuse(grain.Unimplemented, errors.New("a grain takes no message of type "+m.Type))
}

// arrive takes a call that was sent to this activation itself. It stands in the node's table from here
// until it is answered or refused, so that a cancel finds it.
func (a *activation) arrive(m *remote.Inbound, e *actor.Envelope) error {
	in, err := a.node.arrive(m, e)
	if err != nil {
		return err
	}
	if err := in.bind(a.kind, a.id); err != nil {
		return err
	}
	a.node.routed.add(in)
	own := actor.Envelope{Message: in, Reply: in, Header: e.Header}
	taken, err := a.gateRemote(in)
	if !taken && err == nil {
		err = a.ref.SendUngated(own)
	}
	if err != nil {
		a.node.routed.forget(in)
	}
	return err
}

func (a *activation) gateRemote(in *inCall) (taken bool, err error) {
	if len(in.req.Chain) == 0 || !slices.Contains(in.req.Chain, a.id.String()) || !a.waits(in.method) {
		return false, nil
	}
	return a.reenter(in.chain(), in.method, func(f *frame) { a.innerRemote(f, in) })
}
