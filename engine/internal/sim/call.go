package main

import (
	"errors"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/pidcache"
	"github.com/granary-go/granary/engine/internal/retry"
)

// Errors as the engine marks them.
var (
	errUnreachable = undelivered(core.ErrUnreachable)
	errLost        = core.WithDelivery(core.ErrUnreachable, core.DeliveryUnknown) // it may have arrived
	errGone        = undelivered(core.ErrUnreachable)
	errDeadLetter  = undelivered(actor.ErrDeadLetter)
	errNotOwner    = undelivered(core.ErrNotOwner)
	errNoMember    = undelivered(core.ErrNoMember)
	errHeld        = undelivered(core.Retry(core.ErrBusy, 5*time.Millisecond))
	errBehind      = undelivered(core.Retry(core.ErrBusy, 20*time.Millisecond))
	errDeadline    = errors.New("the deadline has passed")
)

func undelivered(err error) error { return core.WithDelivery(err, core.Undelivered) }

// request is one call of one identity, through all its attempts.
type request struct {
	number     uint64
	n          *node // who calls
	to         core.Identity
	idempotent bool
	began      time.Duration // virtual
	limit      time.Duration
	attempts   int
	under      bool // an attempt is under way
	last       error
	pid        core.PID // where the present attempt went; zero: by identity
	over       bool
	err        error // how it ended
	ended      time.Duration
	executed   int // how often a handler ran
	met        map[core.PID]int
	activation uint64 // that answered
	probe      func(*request)
}

// body is what is sent to another member: a call, or the question whether it is settled.
type body struct {
	call    *request
	pid     core.PID // zero: by identity
	settled bool
	stamp   stamp
	target  core.MemberID
}

// answer is what comes back.
type answer struct {
	err        error
	place      core.Placement
	activation uint64
}

// load makes a call now and then, as users do.
func (n *node) load() {
	if n.view == nil || n.leaving || n.rng.IntN(2) == 0 {
		return
	}
	n.call(n.w.ids[n.rng.IntN(len(n.w.ids))], n.rng.IntN(10) == 0, callLimit, nil)
}

// call begins a call; probe, if any, is told of its end.
func (n *node) call(id core.Identity, idempotent bool, limit time.Duration, probe func(*request)) {
	n.w.calls++
	r := &request{
		number: n.w.calls, n: n, to: id, idempotent: idempotent, began: n.w.heap.Now(),
		limit: limit, met: map[core.PID]int{}, probe: probe,
	}
	n.w.ledger.requests = append(n.w.ledger.requests, r)
	n.proc.After(limit, func() { r.timeUp() })
	r.attempt()
}

// timeUp is the deadline: what is under way may have arrived.
func (r *request) timeUp() {
	if r.over {
		return
	}
	err := core.WithDelivery(errDeadline, core.DeliveryUnknown)
	if !r.under {
		err = core.WithDelivery(errDeadline, core.DeliveryOf(r.last))
	}
	r.finish(answer{err: err})
}

func (r *request) finish(a answer) {
	r.n.w.checkOutcome(r, a.err)
	r.over, r.err, r.ended, r.activation = true, a.err, r.n.w.heap.Now(), a.activation
	r.n.event("call", r.to.Key, r.number, uint64(core.DeliveryOf(a.err)), a.activation)
	if r.probe != nil {
		r.probe(r)
	}
}

// attempt finds the target and asks it once, as engine/cluster does.
func (r *request) attempt() {
	n := r.n
	if r.over {
		return
	}
	r.under = true
	r.attempts++
	if e, ok := n.cache.Get(r.to); ok {
		n.w.edge("cache.hit")
		r.askPID(e.PID)
		return
	}
	owner, ok := n.own.Owner(r.to)
	r.pid = core.PID{}
	switch {
	case !ok:
		r.answered(answer{err: errNoMember})
	case owner.ID == n.id:
		n.route(r, stampOf(n.view), 0, r.answered)
	default:
		n.ask(owner.ID, body{call: r, stamp: stampOf(n.view), target: owner.ID}, r.answered)
	}
}

func (r *request) askPID(pid core.PID) {
	r.pid = pid
	if pid.Member == r.n.id {
		r.n.direct(r, pid, r.answered)
		return
	}
	r.n.ask(pid.Member, body{call: r, pid: pid, target: pid.Member}, r.answered)
}

// answered takes the outcome of one attempt, and judges whether another follows.
func (r *request) answered(a answer) {
	if r.over || !r.n.proc.Alive() {
		return
	}
	r.under = false
	if a.err == nil {
		r.n.cache.Put(r.to, pidcache.Entry{Placement: a.place})
		r.n.w.checkPlace(r.n, r.to)
		r.finish(a)
		return
	}
	r.meet(a.err)
	a.err = retry.Whole(r.last != nil && core.DeliveryOf(r.last) != core.Undelivered, a.err)
	r.last = a.err
	v := r.n.judge(a.err, false, r.attempts-1, retry.Policy{Idempotent: r.idempotent}, r.n.rng.Float64)
	r.note(a.err, v)
	if v.Forget && !r.pid.IsZero() && r.n.cache.Drop(r.to, r.pid) {
		r.n.w.edge("cache.dropped")
	}
	if errors.Is(a.err, core.ErrNotOwner) {
		r.n.session.Refresh()
	}
	if !v.Retry {
		r.finish(a)
		return
	}
	r.n.proc.After(v.Wait, func() { r.attempt() })
}

// meet counts how often one request finds nobody at one place.
func (r *request) meet(err error) {
	if r.pid.IsZero() || !errors.Is(err, actor.ErrDeadLetter) {
		return
	}
	r.met[r.pid]++
	r.n.w.checkDeadMet(r)
}

func (r *request) note(err error, v retry.Verdict) {
	name := "unknown"
	for _, known := range []error{actor.ErrDeadLetter, core.ErrNotOwner, core.ErrBusy, core.ErrNoMember, core.ErrUnreachable} {
		if errors.Is(err, known) {
			name = known.Error()
			break
		}
	}
	switch {
	case v.Retry:
		r.n.w.edge("retry." + name)
	case core.DeliveryOf(err) == core.DeliveryUnknown:
		r.n.w.edge("retry.not after an unknown outcome")
	}
}
