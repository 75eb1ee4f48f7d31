package remote

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// Observer hears of the links to members. Each endpoint, which is one stay of a member in the view, is
// told of in order: Connected at most once, then Terminated once. The functions are called one at a time,
// on a goroutine of the Remote and without a lock held, so they may call the Remote; while one runs the
// others wait, so they must not block. A panic is logged. Stop waits for the last call. Clients that
// connect here are not told of. Nil fields are allowed.
type Observer struct {
	// Connected is told of the first link to m that opens. Later links of the same stay are not told.
	Connected func(m core.Member)
	// Terminated is told that m's endpoint has ended for good, also if m was never reached: it left the
	// view, it was blocked, or this Remote stops (core.ErrStopped).
	Terminated func(m core.Member, reason error)
	// Refused is told that m turned down a link, once for each reason in a row; dials go on.
	Refused func(m core.Member, err *RefusedError)
	// Absent is told that nobody listens at m's address: a connection was refused. It is told for each
	// dial; dials go on.
	Absent func(m core.Member)
	// TurnedAway is told, once for each blocked ID, that it tried to connect again and was refused.
	TurnedAway func(id core.MemberID)
}

// notices brings what happened to the Observer. Safe for concurrent use.
type notices struct {
	mu    sync.Mutex
	queue []func()
	busy  bool
}

// told is what the Observer has heard of one endpoint; under notices.mu.
type told struct {
	connected, terminated bool
	refused               bool
	reason                Refusal // of the last refusal, where refused
}

func (r *Remote) noteConnected(ep *endpoint) {
	r.note(func(o *Observer) func() {
		t := &ep.told
		t.refused = false
		if o.Connected == nil || t.connected || t.terminated {
			return nil
		}
		t.connected = true
		return func() { o.Connected(ep.member) }
	})
}

func (r *Remote) noteTerminated(ep *endpoint, reason error) {
	r.note(func(o *Observer) func() {
		if o.Terminated == nil || ep.client || ep.told.terminated {
			return nil
		}
		ep.told.terminated = true
		return func() { o.Terminated(ep.member, reason) }
	})
}

func (r *Remote) noteRefused(ep *endpoint, err *RefusedError) {
	r.note(func(o *Observer) func() {
		t := &ep.told
		if o.Refused == nil || t.terminated || t.refused && t.reason == err.Reason {
			return nil
		}
		t.refused, t.reason = true, err.Reason
		return func() { o.Refused(ep.member, err) }
	})
}

func (r *Remote) noteAbsent(ep *endpoint) {
	r.note(func(o *Observer) func() {
		if o.Absent == nil || ep.told.terminated {
			return nil
		}
		return func() { o.Absent(ep.member) }
	})
}

func (r *Remote) noteTurnedAway(id core.MemberID) {
	r.note(func(o *Observer) func() {
		if o.TurnedAway == nil {
			return nil
		}
		return func() { o.TurnedAway(id) }
	})
}

// note queues the call that choose gives, if any; choose runs under the lock of the notices.
func (r *Remote) note(choose func(*Observer) func()) {
	n := &r.notices
	n.mu.Lock()
	defer n.mu.Unlock()
	call := choose(&r.cfg.Observer)
	if call == nil {
		return
	}
	n.queue = append(n.queue, call)
	if !n.busy {
		n.busy = true
		r.group.Go("remote: observer", r.tellObserver)
	}
}

func (r *Remote) tellObserver() {
	for call := r.notices.next(); call != nil; call = r.notices.next() {
		r.guarded(call)
	}
}

// next takes the oldest call; nil: there is none, and whoever queues one starts a goroutine.
func (n *notices) next() func() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 {
		n.busy, n.queue = false, nil
		return nil
	}
	call := n.queue[0]
	n.queue[0] = nil
	n.queue = n.queue[1:]
	return call
}

// guarded calls user code.
func (r *Remote) guarded(call func()) {
	ended := false
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("remote: panic in the observer", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		} else if !ended { // runtime.Goexit: the rest is told by another goroutine
			r.group.Go("remote: observer", r.tellObserver)
		}
	}()
	call()
	ended = true
}

// heard is when the last frame of a member came, by whichever link: one more than the nanoseconds since
// the Remote was made; 0: never.
type heard struct{ at atomic.Int64 }

func (r *Remote) hear(h *heard) { h.at.Store(int64(r.clock.Now().Sub(r.born)) + 1) }

// LastHeard is how long ago, on the monotonic clock, the last frame of the member came by any link of
// its present stay in the view. It is false if none came so far or the member is not in the view.
// Pings of the transport are no frames.
func (r *Remote) LastHeard(member core.MemberID) (elapsed time.Duration, ok bool) {
	r.mu.Lock()
	ep := r.endpoints[member]
	r.mu.Unlock()
	if ep == nil {
		return 0, false
	}
	at := ep.heard.at.Load()
	if at == 0 {
		return 0, false
	}
	return max(r.clock.Now().Sub(r.born)-time.Duration(at-1), 0), true
}
