package cluster

import (
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// extras are the parts that few activations need; made when first used.
type extras struct {
	inner     atomic.Int32 // reentrant turns that wait or run
	mu        sync.Mutex
	timers    map[*timer]struct{}
	cancelled []cancelKey // calls given up while queued, newest last
}

type cancelKey struct {
	from   *remote.Peer
	number uint64
}

// maxCancelled bounds what is remembered of calls that were given up while they were queued here;
// the oldest are forgotten and run for nobody.
const maxCancelled = 1024

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
		if m.chain == nil || !slices.Contains(m.chain, a.id) || !a.turns.waits() {
			return false, nil
		}
		own := *e // the gate's envelope is lent
		return a.reenter(m.chain, m.method, func(f *frame) { a.innerLocal(f, m, own) })
	case *inCall:
		return a.gateRemote(m, e)
	case *remote.Inbound:
		return a.gateWire(m, e)
	}
	return true, refuse(grain.InvalidArgument, errors.New("a grain takes calls only"))
}

func (a *activation) gateWire(m *remote.Inbound, e *actor.Envelope) (taken bool, err error) {
	switch m.Type {
	case typeGrainRequest:
		in, err := a.node.arrive(m, e)
		if err != nil {
			return true, err
		}
		if err := in.bind(a.kind, a.id); err != nil {
			return true, err
		}
		e.Message, e.Reply, e.ReplyID = in, in, 0
		return a.gateRemote(in, e)
	case typeCancelCall:
		a.cancel(m)
		return true, nil
	}
	return true, refuse(grain.Unimplemented, errors.New("a grain takes no message of type "+m.Type))
}

func (a *activation) gateRemote(in *inCall, e *actor.Envelope) (taken bool, err error) {
	if len(in.req.chain) == 0 || !slices.Contains(in.req.chain, a.id.String()) || !a.turns.waits() {
		return false, nil
	}
	return a.reenter(in.chain(), in.method, func(f *frame) { a.innerRemote(f, in) })
}

// reenter has a call that came back to its own chain run in a turn beside the mailbox, if the method
// allows it; otherwise it could never be answered, and is refused.
func (a *activation) reenter(chain []core.Identity, m *grain.MethodSpec, run func(*frame)) (taken bool, err error) {
	if err := grain.CheckChain(chain, a.id, m.Reentrant); err != nil {
		return true, err
	}
	x := a.more()
	x.inner.Add(1)
	a.node.group.Go("reentrant turn", func() {
		f := &frame{a: a}
		f.begin()
		defer func() {
			f.end()
			x.inner.Add(-1)
			// A drain or a passivation that found this turn looks again.
			_ = a.node.sys.Nudge(a.ref, idleCheck{}) // the activation may have ended
		}()
		run(f)
	})
	return true, nil
}

func (a *activation) innerLocal(f *frame, call *localCall, e actor.Envelope) {
	if !call.begin() {
		call.release()
		return
	}
	var v any
	err := a.guard(func() (err error) { v, err = a.runLocal(f, call); return err })
	reply(e, v, err)
	call.release()
}

func (a *activation) innerRemote(f *frame, in *inCall) {
	var v any
	err := a.guard(func() (err error) { v, err = a.runRemote(f, in); return err })
	in.Reply(0, v, err)
}

// guard is the recover frame of a reentrant turn: a panic is the caller's answer and the end of the
// activation, as in any turn. After the last turn nothing runs.
func (a *activation) guard(run func() error) (err error) {
	if a.ended.Load() {
		return &actor.DeadLetterError{Target: a.place.PID}
	}
	defer func() {
		if v := recover(); v != nil {
			a.node.log.Error("cluster: panic in a grain", "kind", a.id.Kind, "key", a.id.Key, "panic", v, "stack", string(debug.Stack()))
			err = core.WithDelivery(grain.PanicError(v), core.Delivered)
			_ = a.node.sys.Nudge(a.ref, drain{core.StopFailed}) // it may be ending already
		}
	}()
	return run()
}

// cancel finds the call that a peer has given up: the one that runs, or one that is queued.
func (a *activation) cancel(m *remote.Inbound) {
	number, err := parseCancel(m.Data)
	if err != nil {
		return // a hint that cannot be read
	}
	key := cancelKey{m.From, number}
	x := a.more()
	x.mu.Lock()
	x.cancelled = append(x.cancelled, key)
	if len(x.cancelled) > maxCancelled {
		x.cancelled = slices.Delete(x.cancelled, 0, len(x.cancelled)-maxCancelled)
	}
	x.mu.Unlock()
	// The turn publishes its call first and looks at the list then, so one of the two sees the other.
	if in := a.current.Load(); in != nil && in.key() == key {
		in.cancel()
	}
}

// givenUp reports whether the call was cancelled while it was queued, and forgets that.
func (a *activation) givenUp(in *inCall) bool {
	x := a.extra.Load()
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.Index(x.cancelled, in.key())
	if i >= 0 {
		x.cancelled = slices.Delete(x.cancelled, i, i+1)
	}
	return i >= 0
}
