package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// stamp is the view under which a message was sent.
type stamp struct {
	lineage string
	epoch   uint64
	hash    uint64
}

func stampOf(v *core.View) stamp {
	if v == nil {
		return stamp{}
	}
	return stamp{v.Lineage(), v.Epoch(), v.Hash()}
}

// viewWait is how long a message waits for the view of its sender.
const viewWait = time.Second

// newer reports whether s is ahead of the view of a provider with an order.
func (s stamp) newer(v *core.View) bool {
	return s.lineage != "" && s.lineage == v.Lineage() && s.epoch > v.Epoch()
}

// activation is one grain in memory. It takes one call at a time.
type activation struct {
	number   uint64
	n        *node
	id       core.Identity
	place    core.Placement
	queue    []func()
	busy     bool
	stopping bool
	stopped  func()
}

// handle takes a message of a peer.
func (n *node) handle(from *node, b body, reply func(answer)) {
	n.w.checkForeign(n, from, b)
	switch {
	case b.settled:
		n.answerSettled(b.stamp, reply)
	case !b.pid.IsZero():
		n.direct(b.call, b.pid, reply)
	default:
		n.route(b.call, b.stamp, 0, reply)
	}
}

// direct hands a call to an activation that somebody knows of. One that stops says so: its last answers are before it
// is found dead, and not behind.
func (n *node) direct(r *request, pid core.PID, reply func(answer)) {
	a := n.acts[r.to]
	switch {
	case a == nil, a.place.PID != pid:
		n.w.edge("host.dead letter")
		reply(answer{err: errDeadLetter})
		return
	case a.stopping:
		n.w.edge("host.behind one that stops")
		reply(answer{err: errHeld})
		return
	}
	a.run(r, reply)
}

// route hands a call to the activation of its identity, which is made if this member owns it.
func (n *node) route(r *request, s stamp, waited time.Duration, reply func(answer)) {
	if a := n.acts[r.to]; a != nil {
		if a.stopping {
			n.w.edge("host.behind one that stops")
			reply(answer{err: errHeld})
			return
		}
		a.run(r, reply)
		return
	}
	if n.view == nil || s.newer(n.view) || n.mayBeAhead(r.to, s) {
		n.park(r, s, waited, reply)
		return
	}
	owner, ok := n.own.Owner(r.to)
	switch {
	case !ok || owner.ID != n.id || n.drained:
		n.w.edge("host.not owner")
		reply(answer{err: errNotOwner})
	case n.own.Held(r.to):
		n.w.edge("host.held")
		reply(answer{err: errHeld})
	default:
		n.spawn(r.to).run(r, reply)
	}
}

// mayBeAhead is true for a sender whose view, which has no order, was not seen here, if this member
// does not own the identity.
func (n *node) mayBeAhead(id core.Identity, s stamp) bool {
	return s.lineage == "" && s.hash != n.view.Hash() && !n.own.Owns(id) && !slices.Contains(n.past, s.hash)
}

// park tries again with the next view, for a while.
func (n *node) park(r *request, s stamp, waited time.Duration, reply func(answer)) {
	if waited >= viewWait {
		n.w.edge("host.waited in vain")
		reply(answer{err: errNotOwner})
		return
	}
	n.w.edge("host.parked")
	n.session.Refresh()
	began, again := n.w.heap.Now(), false
	once := func() {
		if !again {
			again = true
			n.route(r, s, waited+n.w.heap.Now()-began, reply)
		}
	}
	n.parked = append(n.parked, once)
	n.proc.After(viewWait-waited, once)
}

// spawn makes an activation.
func (n *node) spawn(id core.Identity) *activation {
	n.w.spawned++
	a := &activation{number: n.w.spawned, n: n, id: id}
	a.place.PID = core.PID{Address: n.m.address, ID: fmt.Sprint("g/", a.number), Member: n.id}
	n.acts[id] = a
	n.event("activates", id.Key, a.number, n.view.Hash())
	n.w.checkSpawn(n, a)
	return a
}

// run queues a call.
func (a *activation) run(r *request, reply func(answer)) {
	a.queue = append(a.queue, func() {
		r.executed++
		a.n.w.checkExecuted(r)
		a.n.event("handles", a.id.Key, r.number, a.number)
		a.n.proc.After(a.n.phase(4*time.Millisecond), func() {
			reply(answer{place: a.place, activation: a.number})
			a.next()
		})
	})
	if !a.busy {
		a.next()
	}
}

func (a *activation) next() {
	a.busy = len(a.queue) > 0
	switch {
	case a.busy:
		f := a.queue[0]
		a.queue = a.queue[1:]
		f()
	case a.stopping:
		a.n.proc.After(a.farewell(), a.stopped)
	}
}

// farewell is how long an activation takes to stop: some are slow.
func (a *activation) farewell() time.Duration {
	if a.n.rng.IntN(4) == 0 {
		a.n.w.edge("host.slow to stop")
		return a.n.phase(500 * time.Millisecond)
	}
	return a.n.phase(2 * time.Millisecond)
}

// stop ends an activation once it has handled what is queued.
func (a *activation) stop(then func()) {
	if a.stopping {
		return
	}
	a.stopping = true
	a.stopped = func() {
		delete(a.n.acts, a.id)
		a.n.w.ended++
		a.n.event("deactivated", a.id.Key, a.number)
		then()
	}
	if !a.busy {
		a.next()
	}
}

// reshape installs a view in the lookup, and begins what follows from it: stop what was lost, ask whom
// this member inherited from.
func (n *node) reshape(v *core.View) {
	if len(n.own.Waiting()) > 0 {
		n.w.edge("handover.overtaken by a view")
	}
	n.own.Install(v, n.now())
	n.reshapes++
	questions := n.questions
	n.questions = nil
	for _, f := range questions {
		f(errBehind)
	}
	generation, asked := n.reshapes, stampOf(v)
	n.proc.After(n.phase(2*time.Millisecond), func() { n.sweep(generation) })
	for _, id := range n.own.Waiting() {
		n.w.edge("handover.begins")
		n.event("waits for", string(id))
		n.inherit(generation, asked, id, 5*time.Millisecond)
	}
}

// sweep stops what this member does not own.
func (n *node) sweep(generation int) {
	if generation != n.reshapes {
		return
	}
	for _, id := range n.w.ids {
		if a := n.acts[id]; a != nil && !n.own.Owns(id) {
			n.w.edge("handover.loser stopped")
			a.stop(n.settle)
		}
	}
	n.settle()
}

// settled is true when nothing runs that this member does not own.
func (n *node) settled() bool {
	for id := range n.acts {
		if !n.own.Owns(id) {
			return false
		}
	}
	return true
}

// settle answers those who wait for it.
func (n *node) settle() {
	if !n.settled() {
		return
	}
	questions := n.questions
	n.questions = nil
	for _, f := range questions {
		f(nil)
	}
}

// answerSettled answers another member's question, asked under its view.
func (n *node) answerSettled(s stamp, reply func(answer)) {
	if n.view == nil || s != stampOf(n.view) && (s.lineage != "" || s.hash != n.view.Hash()) {
		n.session.Refresh()
		reply(answer{err: errBehind})
		return
	}
	n.questions = append(n.questions, func(err error) { reply(answer{err: err}) })
	n.settle()
}

// inherit asks a member until it is settled in the present view.
func (n *node) inherit(generation int, s stamp, id core.MemberID, pause time.Duration) {
	if generation != n.reshapes || !slices.Contains(n.own.Waiting(), id) {
		return
	}
	n.ask(id, body{settled: true, stamp: s, target: id}, func(a answer) {
		if generation != n.reshapes {
			return
		}
		if a.err == nil {
			n.w.edge("handover.settled")
			n.event("hears settled", string(id))
			n.own.Settled(n.now(), id)
			return
		}
		n.proc.After(pause, func() { n.inherit(generation, s, id, min(2*pause, 250*time.Millisecond)) })
	})
}

// giveUp waits no longer for members that are overdue.
func (n *node) giveUp() {
	if late := n.own.Overdue(n.now()); len(late) > 0 {
		n.w.edge("handover.given up")
		n.event("gives up", fmt.Sprint(late))
		n.own.Settled(n.now(), late...)
	}
}
