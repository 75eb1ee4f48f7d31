package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/pidcache"
	"github.com/granary-go/granary/engine/internal/retry"
)

// Call calls one method of one grain, wherever it lives, and waits for the answer. The grain is
// activated if it does not run. The call is tried again, within ctx, as long as it is known not to
// have run, or if it may run twice. The error says what is known of it: core.DeliveryOf.
//
// A call without a deadline looks for its grain for Config.CallTimeout, and then waits for the method
// as long as it takes, while the link to the grain's member lives. Within a grain, pass the ctx of the
// turn on, here as to Self.Call: it knows who waits for whom.
func (n *Node) Call(ctx context.Context, r grain.Request) (grain.Reply, error) {
	if t := n.turnOf(ctx); t != nil {
		return n.callWithin(ctx, t, r)
	}
	return n.callFrom(ctx, r, nil)
}

// Tell is Call without an answer. It returns when the message is on its way; what is lost after that
// is a dead letter.
func (n *Node) Tell(ctx context.Context, r grain.Request) error { return n.tellFrom(ctx, r) }

// callFrom makes a call at the end of a chain of grains that wait for it; nil: from outside of grains.
func (n *Node) callFrom(ctx context.Context, r grain.Request, chain []core.Identity) (grain.Reply, error) {
	if n.calls == nil {
		return n.call(ctx, r, chain)
	}
	return n.calls(context.WithValue(ctx, chainKey{}, chain), r)
}

// chainKey carries the chain of a call through interceptors.
type chainKey struct{}

func (n *Node) callIntercepted(ctx context.Context, r grain.Request) (grain.Reply, error) {
	chain, _ := ctx.Value(chainKey{}).([]core.Identity)
	return n.call(ctx, r, chain)
}

// question is one call on its way through all its attempts.
type question struct {
	grain.Request
	opts  grain.Options
	chain []core.Identity // of grains that wait for the call; nil: it comes from outside of grains
	tell  bool
	data  []byte // the argument for the wire, once encoded
	codec string
	wired bool
}

// call is the loop of attempts.
func (n *Node) call(ctx context.Context, r grain.Request, chain []core.Identity) (grain.Reply, error) {
	q := question{Request: r, chain: chain}
	if len(r.Options) > 0 {
		q.opts = grain.ResolveOptions(r.Options)
	}
	if q.opts.Timeout == 0 && n.timed {
		q.opts.Timeout = n.timeoutOf(&q)
	}
	if q.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.opts.Timeout)
		defer cancel()
	}
	if err := n.mayCall(ctx, &q); err != nil {
		return grain.Reply{}, err
	}
	view := n.views.current.Load()
	reply, pid, err := n.attempt(ctx, &q)
	if err == nil {
		return reply, nil
	}
	return n.again(ctx, &q, view, pid, err)
}

func (n *Node) tellFrom(ctx context.Context, r grain.Request) error {
	if n.tells == nil {
		return n.tell(ctx, r)
	}
	return n.tells(ctx, r)
}

func (n *Node) tell(ctx context.Context, r grain.Request) error {
	q := question{Request: r, tell: true, opts: grain.ResolveOptions(r.Options)}
	if err := n.mayCall(ctx, &q); err != nil {
		return err
	}
	view := n.views.current.Load()
	_, pid, err := n.attempt(ctx, &q)
	if err != nil {
		_, err = n.again(ctx, &q, view, pid, err)
	}
	return err
}

// mayCall refuses what cannot be sent at all, before anything is done for it.
func (n *Node) mayCall(ctx context.Context, q *question) error {
	if err := ctx.Err(); err != nil {
		return core.WithDelivery(fmt.Errorf("cluster: call %s of %s: %w", q.Method, q.To, err), core.Undelivered)
	}
	if err := q.To.Check(); err != nil {
		return refuse(grain.InvalidArgument, fmt.Errorf("cluster: call %s: %w", q.Method, err))
	}
	if !n.open.Load() {
		return core.WithDelivery(fmt.Errorf("cluster: call %s of %s: the node is not running: %w", q.Method, q.To, core.ErrStopped), core.Undelivered)
	}
	if len(q.chain) > grain.MaxChain {
		return grain.CheckChain(q.chain, q.To, true)
	}
	if q.opts.Headers != nil {
		return n.mayCarry(q)
	}
	return nil
}

// mayCarry refuses headers that could not cross the wire, wherever the grain lives.
func (n *Node) mayCarry(q *question) error {
	err := n.remote.CheckHeader(q.opts.Headers)
	if err == nil {
		err = grain.CheckHeaders(q.opts.Headers)
	}
	if err != nil {
		return refuse(grain.InvalidArgument, fmt.Errorf("cluster: call %s of %s: %w", q.Method, q.To, err))
	}
	return nil
}

// again goes on after a failed attempt, until one succeeds, no further one would help, or ctx ends. The
// view is that from before the attempt: if another one came meanwhile, nothing is to be waited for.
func (n *Node) again(ctx context.Context, q *question, view *installed, pid core.PID, err error) (grain.Reply, error) {
	began := n.clock.Now()
	_, limited := ctx.Deadline()
	random := n.jitterOf(ctx, q.To)
	ran := false // as far as is known
	for attempt := 0; ; attempt++ {
		err = retry.Whole(ran, err)
		ran = core.DeliveryOf(err) != core.Undelivered
		v := retry.Judge(err, isGrainError(err), attempt, n.policyOf(q), random)
		if v.Forget && !pid.IsZero() {
			n.forget(q.To, pid)
		}
		if errors.Is(err, core.ErrNotOwner) {
			n.refresh()
		}
		if !v.Retry {
			return grain.Reply{}, n.failed(q, err)
		}
		if !limited && n.clock.Now().Sub(began) >= n.cfg.CallTimeout {
			return grain.Reply{}, fmt.Errorf("cluster: call %s of %s: given up after %d tries in %v: %w", q.Method, q.To, attempt+1, n.cfg.CallTimeout, err)
		}
		if f := n.observer.Retried; f != nil {
			f(q.To, attempt+1, err)
		}
		if over := n.pause(ctx, q.To, view, v.Wait, err); over != nil {
			return grain.Reply{}, core.WithDelivery(fmt.Errorf("cluster: call %s of %s: %w after %d tries, the last: %w", q.Method, q.To, over, attempt+1, err), core.DeliveryOf(err))
		}
		if !n.open.Load() || n.base.Err() != nil {
			return grain.Reply{}, core.WithDelivery(fmt.Errorf("cluster: call %s of %s: the node has stopped: %w; the last try: %w", q.Method, q.To, core.ErrStopped, err), core.DeliveryOf(err))
		}
		view = n.views.current.Load()
		var reply grain.Reply
		if reply, pid, err = n.attempt(ctx, q); err == nil {
			return reply, nil
		}
	}
}

// isGrainError reports whether err is the answer of a grain or the refusal of a call by its content,
// which no other attempt makes better.
func isGrainError(err error) bool {
	_, ok := errors.AsType[*grain.Error](err)
	return ok
}

func (n *Node) policyOf(q *question) retry.Policy {
	p := retry.Policy{Idempotent: q.opts.Idempotent, Overloaded: q.opts.RetryOverloaded}
	if k := n.kinds[q.To.Kind]; k != nil && !p.Idempotent {
		m, ok := k.Method(q.Index, q.Method)
		p.Idempotent = ok && m.Idempotent
	}
	return p
}

// timeoutOf is the time of the method, where this node hosts the kind and so knows it.
func (n *Node) timeoutOf(q *question) time.Duration {
	if k := n.kinds[q.To.Kind]; k != nil {
		if m, ok := k.Method(q.Index, q.Method); ok {
			return m.Timeout
		}
	}
	return 0
}

// failed is an error as the caller gets it: the answer of a grain as it is, others with the call. Links
// that have ended since this node stops are no fault of the peer's.
func (n *Node) failed(q *question, err error) error {
	if p, ok := err.(*wireform.Placed); ok { //nolint:errorlint // the outermost wrapper is taken off
		err = p.Err
	}
	if isGrainError(err) {
		return err
	}
	if !n.open.Load() && errors.Is(err, core.ErrUnreachable) {
		return core.WithDelivery(fmt.Errorf("cluster: call %s of %s: the node has stopped: %w: %w", q.Method, q.To, core.ErrStopped, err), core.DeliveryOf(err))
	}
	return fmt.Errorf("cluster: call %s of %s: %w", q.Method, q.To, err)
}

// pause waits before the next attempt: for the time that the rule gives, or until what stands in the
// way has gone: the end of an activation here, or another view.
func (n *Node) pause(ctx context.Context, id core.Identity, at *installed, wait time.Duration, err error) error {
	end := n.acts.end(id)
	if end != nil {
		wait = max(wait, time.Second) // its end is told, there is nothing to poll for
	}
	if wait <= 0 {
		return ctx.Err()
	}
	var view <-chan struct{}
	if errors.Is(err, core.ErrNoMember) || errors.Is(err, core.ErrNotOwner) || errors.Is(err, core.ErrUnreachable) {
		view = at.next
	}
	timer := make(chan struct{})
	stop := n.clock.AfterFunc(wait, func() { close(timer) })
	defer stop()
	select {
	case <-timer:
	case <-end:
	case <-view:
	case <-n.base.Done(): // the node has stopped, and so do its callers
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// forget drops what is known of where id lives, as far as it is pid.
func (n *Node) forget(id core.Identity, pid core.PID) {
	n.cache.Drop(id, pid)
	defer n.caught("the lookup's Forget")
	n.parts.Lookup.Forget(id, pid)
}

// attempt finds the target and asks it once. pid is where the call went; zero if it is not known.
func (n *Node) attempt(ctx context.Context, q *question) (grain.Reply, core.PID, error) {
	if e, ok := n.known(q.To); ok {
		if f := n.observer.Resolved; f != nil {
			f(q.To, "cache", 0, nil)
		}
		reply, err := n.ask(ctx, e.Ref, e.PID.Member, q, false)
		return reply, e.PID, err
	}
	if n.router != nil {
		began := n.began()
		switch owner, ok := n.router.Owner(q.To); {
		case !ok:
			err := n.noMember(q.To)
			n.resolved(q.To, began, err)
			return grain.Reply{}, core.PID{}, err
		case owner.ID != n.id:
			n.resolved(q.To, began, nil)
			return n.askOwner(ctx, q, owner)
		}
	}
	e, err := n.resolve(ctx, q.To)
	if err != nil {
		return grain.Reply{}, core.PID{}, err
	}
	reply, err := n.ask(ctx, e.Ref, e.PID.Member, q, false)
	return reply, e.PID, err
}

// known is where id lives, as far as it is known without asking anybody: here, or where the cache says.
func (n *Node) known(id core.Identity) (pidcache.Entry, bool) {
	hash := n.acts.hash(id)
	if !n.departed.Load() {
		if a, stopping := n.acts.find(hash, id); a != nil && !stopping {
			return pidcache.Entry{Placement: a.place(), Ref: a.ref}, true
		}
	}
	return n.cache.Find(hash, id)
}

func (n *Node) noMember(id core.Identity) error {
	return core.WithDelivery(fmt.Errorf("cluster: no member hosts kind %q: %w", id.Kind, core.ErrNoMember), core.Undelivered)
}

// askOwner sends the call itself to the member that owns the identity, which activates it on arrival.
func (n *Node) askOwner(ctx context.Context, q *question, owner core.Member) (grain.Reply, core.PID, error) {
	ref := n.views.current.Load().refs[owner.ID]
	if ref == nil { // the lookup is ahead of the installed view
		return grain.Reply{}, core.PID{}, notOwner(q.To, n.View())
	}
	reply, err := n.ask(ctx, ref, owner.ID, q, true)
	return reply, core.PID{}, err
}

// resolve finds out where id lives, and remembers it.
func (n *Node) resolve(ctx context.Context, id core.Identity) (pidcache.Entry, error) {
	began := n.began()
	place, err := n.find(ctx, id)
	n.resolved(id, began, err)
	if err != nil {
		if core.DeliveryOf(err) != core.Undelivered {
			err = core.WithDelivery(err, core.Undelivered) // nothing was sent to the grain
		}
		return pidcache.Entry{}, err
	}
	return n.remember(id, place), nil
}

// maxHostsAsked bounds the hosts that one attempt asks where an identity lives.
const maxHostsAsked = 3

// find asks who knows the kind's strategy, since it may come to placing: the lookup here, if the kind is
// hosted here, else a host of it, and another if that one is out of reach. Where nobody is up that could be
// asked, what runs on leavers is still found by the lookup here, which places nothing then.
func (n *Node) find(ctx context.Context, id core.Identity) (place core.Placement, err error) {
	at := n.views.current.Load()
	if n.kinds[id.Kind] != nil || at.view == nil {
		return n.place(ctx, id)
	}
	hosts := at.view.Hosting(id.Kind)
	if len(hosts) == 0 && !n.cfg.Client {
		return n.place(ctx, id)
	}
	err = n.noMember(id)
	for range min(maxHostsAsked, len(hosts)) {
		m, ok := n.anyHost.Pick(id, hosts)
		if !ok {
			break
		}
		if place, err = n.locate(ctx, at.refs[m.ID], m.ID, id); !errors.Is(err, core.ErrUnreachable) {
			break
		}
		hosts = slices.DeleteFunc(slices.Clone(hosts), func(other core.Member) bool { return other.ID == m.ID })
	}
	return place, err
}

// locate asks a host of the kind where id lives. It waits no longer than for a probe: another host can tell
// as well, and what this one has begun goes on.
func (n *Node) locate(ctx context.Context, host *actor.Ref, name core.MemberID, id core.Identity) (core.Placement, error) {
	patience := n.cfg.ProbeInterval
	asking, cancel := n.withTimeout(ctx, patience)
	defer cancel()
	req := &wireform.Request{Index: -1, Locate: true, Routed: true, ID: id, View: wireform.StampOf(n.View()), Remaining: remaining(ctx)}
	v, err := n.exchange(asking, host, actor.Envelope{Message: req})
	switch {
	case err != nil && asking.Err() != nil && ctx.Err() == nil:
		return core.Placement{}, fmt.Errorf("cluster: where %s lives: member %s has not answered for %v: %w", id, name, patience, core.ErrUnreachable)
	case err != nil:
		return core.Placement{}, err
	}
	out, err := responseOf(v, id)
	if err != nil {
		return core.Placement{}, err
	}
	if _, there := n.View().Member(out.Place.PID.Member); !there || out.Place.PID.Member == n.id {
		return core.Placement{}, core.WithDelivery(fmt.Errorf("cluster: %s is said to be with member %q, which is not in the view here: %w", id, out.Place.PID.Member, core.ErrNotOwner), core.Undelivered)
	}
	return out.Place, nil
}

// place asks the lookup.
func (n *Node) place(ctx context.Context, id core.Identity) (place core.Placement, err error) {
	err = n.protect("the lookup's Resolve", func() (err error) {
		place, err = n.parts.Lookup.Resolve(ctx, id)
		return err
	})
	return place, err
}

// resolved tells the observer of a search for an owner that began at that time.
func (n *Node) resolved(id core.Identity, began time.Time, err error) {
	if f := n.observer.Resolved; f != nil {
		f(id, "owner", n.clock.Now().Sub(began), err)
	}
}

// began is the time, if the observer wants to know how long a search takes.
func (n *Node) began() time.Time {
	if n.observer.Resolved == nil {
		return time.Time{}
	}
	return n.clock.Now()
}

// remember keeps where id lives, unless that is here: what runs here is found in its table, and what has ended is
// to be looked for anew.
func (n *Node) remember(id core.Identity, place core.Placement) pidcache.Entry {
	e := pidcache.Entry{Placement: place}
	if place.PID.Member != n.id {
		e.Ref = n.sys.Ref(place.PID)
		n.cache.Put(id, e)
		return e
	}
	if a, _ := n.acts.get(id); a != nil && a.place() == place {
		e.Ref = a.ref
		return e
	}
	e.Ref = n.sys.Ref(place.PID)
	return e
}
