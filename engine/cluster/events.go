package cluster

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/membership"
)

// Event is what Subscribe tells, one of the types of this package that are named there. Each is told
// once, in the order in which it happened. They are published on the event stream of the node too.
type Event interface{ event() }

// MemberJoined tells that a member came into the view.
type MemberJoined struct {
	Member core.Member
	Epoch  uint64 // of the view installed by then, here and below
}

// MemberRejoined stands in the place of MemberJoined where an earlier member had the same address: as a
// rule the process was started again.
type MemberRejoined struct {
	Member core.Member
	Before core.MemberID // the earlier one
	Epoch  uint64
}

// MemberChanged tells that the status, the kinds or the weight of a member of the view changed.
type MemberChanged struct {
	Member core.Member
	Before core.Status
	Epoch  uint64
}

// MemberLeft tells that a member is in the view no more.
type MemberLeft struct {
	Member core.Member
	Epoch  uint64
}

// MemberUnavailable tells that a member of the view is suspected to be dead, or that its provider misses
// it for the moment. A lookup with a directory places nothing new there; under disthash it stays the owner
// of its identities until it is removed.
type MemberUnavailable struct {
	Member core.Member
	Epoch  uint64
}

// MemberAvailable takes MemberUnavailable back. It is not told of members that leave.
type MemberAvailable struct {
	Member core.Member
	Epoch  uint64
}

// MemberBlocked tells that the traffic of a member is refused from now on: it is banned, or another took
// its address. It need not be in a view; then only its ID is known.
type MemberBlocked struct {
	Member core.Member
	Epoch  uint64
}

// EndpointConnected tells of the first link to a member since it joined.
type EndpointConnected struct {
	Member core.Member
	Epoch  uint64
}

// EndpointTerminated tells that the links to a member have ended for good, once for each MemberJoined or
// MemberRejoined of another member, also if it was never reached. It may come before MemberLeft (the
// member is blocked) and after it.
type EndpointTerminated struct {
	Member core.Member
	Epoch  uint64
}

// SelfAccused tells that others vote to evict this member, or have banned it.
type SelfAccused struct {
	Reason string
	Epoch  uint64
}

// SelfAbsolved tells that they do no more.
type SelfAbsolved struct{ Epoch uint64 }

// SelfSick tells that this member's own timers are late, by more than a quarter of the time that a lease
// lasts: it is not ready, and more patient before it suspects others.
type SelfSick struct{ Epoch uint64 }

// SelfWell tells that they are in time again.
type SelfWell struct{ Epoch uint64 }

// SelfEvicted tells that the cluster has put this member out: it stops, and Run returns core.ErrEvicted.
type SelfEvicted struct {
	Reason string
	Epoch  uint64
}

// StateChanged tells that a member has set or removed a gossiped key, or that this has become known here.
type StateChanged struct {
	Member  core.MemberID
	Key     string
	Version uint64 // of this key of this member; it grows
	Gone    bool   // the key was removed
}

// EventsLost tells a subscriber that it did not get so many events, as it was too slow: what was so
// before them may be so no more. See View.
type EventsLost struct{ Count int64 }

func (MemberJoined) event()       {}
func (MemberRejoined) event()     {}
func (MemberChanged) event()      {}
func (MemberLeft) event()         {}
func (MemberUnavailable) event()  {}
func (MemberAvailable) event()    {}
func (MemberBlocked) event()      {}
func (EndpointConnected) event()  {}
func (EndpointTerminated) event() {}
func (SelfAccused) event()        {}
func (SelfAbsolved) event()       {}
func (SelfSick) event()           {}
func (SelfWell) event()           {}
func (SelfEvicted) event()        {}
func (StateChanged) event()       {}
func (EventsLost) event()         {}

// eventOf is the public form of what the machine tells.
func eventOf(e membership.Event) Event {
	m, epoch := e.Member, e.Epoch
	switch e.Type {
	case membership.Joined:
		return MemberJoined{m, epoch}
	case membership.Rejoined:
		return MemberRejoined{m, e.Before, epoch}
	case membership.Left:
		return MemberLeft{m, epoch}
	case membership.Unavailable:
		return MemberUnavailable{m, epoch}
	case membership.Available:
		return MemberAvailable{m, epoch}
	case membership.Blocked:
		return MemberBlocked{m, epoch}
	case membership.EndpointConnected:
		return EndpointConnected{m, epoch}
	case membership.EndpointTerminated:
		return EndpointTerminated{m, epoch}
	}
	return ownEvent(e)
}

func ownEvent(e membership.Event) Event {
	switch e.Type {
	case membership.SelfAccused:
		return SelfAccused{e.Reason, e.Epoch}
	case membership.SelfAbsolved:
		return SelfAbsolved{e.Epoch}
	case membership.SelfSick:
		return SelfSick{e.Epoch}
	case membership.SelfWell:
		return SelfWell{e.Epoch}
	default:
		return SelfEvicted{e.Reason, e.Epoch}
	}
}

// news turns what happens to the membership into events, and hands them to subscribers in one order. Under
// its lock events are only queued: no code of a subscriber runs.
type news struct {
	mu      sync.Mutex
	machine *membership.Events
	held    bool // a topology is being installed: what happens meanwhile is told after it
	pending []Event
	subs    []*Subscription
	over    bool
}

// notice tells the machine what happened, and subscribers what follows from it.
func (n *Node) notice(in membership.Notice) {
	n.news.mu.Lock()
	defer n.news.mu.Unlock()
	for _, e := range n.news.machine.Step(in, nil) {
		n.relate(eventOf(e))
	}
}

// publish tells subscribers e. It does not wait for them.
func (n *Node) publish(e Event) {
	n.news.mu.Lock()
	defer n.news.mu.Unlock()
	n.relate(e)
}

// relate queues e for everybody; news.mu is held.
func (n *Node) relate(e Event) {
	if n.news.held {
		n.news.pending = append(n.news.pending, e)
		return
	}
	for _, s := range n.news.subs {
		s.offer(e)
	}
	if stream := n.events.Load(); stream != nil {
		stream.Publish(e)
	}
}

// holdNews keeps events back, so that a view is installed before anybody hears of it.
func (n *Node) holdNews() {
	n.news.mu.Lock()
	n.news.held = true
	n.news.mu.Unlock()
}

// releaseNews tells what was kept back.
func (n *Node) releaseNews() {
	n.news.mu.Lock()
	defer n.news.mu.Unlock()
	pending := n.news.pending
	n.news.held, n.news.pending = false, nil
	for _, e := range pending {
		n.relate(e)
	}
}

// endNews lets subscribers hear what is queued, and nothing more.
func (n *Node) endNews() {
	n.news.mu.Lock()
	defer n.news.mu.Unlock()
	n.news.over, n.news.subs = true, nil
}

// subscriberQueue is how many events wait for one subscriber.
const subscriberQueue = 1024

// Subscription is one subscriber of a node's events. It is safe for concurrent use.
type Subscription struct {
	node *Node
	f    func(Event)
	lost atomic.Int64 // in all

	mu      sync.Mutex
	queue   []Event
	missing int64 // lost since the subscriber was last told
	busy    bool  // a goroutine calls f
	ended   bool
}

// Subscribe calls f with each event from now on, in order, one at a time, on a goroutine of its own with
// no lock held, until Cancel, or until Stop has ended everything else. It may be called before Start, so
// that nothing is missed; what was so before it was called is in View.
//
// Nobody waits for a subscriber. 1,024 events wait for f while it is busy; those beyond are dropped until
// it has worked them off, and then it is told how many by EventsLost. A panic in f is logged, and the next
// event comes. Only the end of Stop waits for f, for a part of Config.StopTimeout, and names it in its
// error if it hangs.
//
// The events are MemberJoined, MemberRejoined, MemberChanged, MemberLeft, MemberUnavailable,
// MemberAvailable, MemberBlocked; EndpointConnected, EndpointTerminated; SelfAccused, SelfAbsolved,
// SelfSick, SelfWell, SelfEvicted; StateChanged; EventsLost. Versions to come may add others.
func (n *Node) Subscribe(f func(Event)) *Subscription {
	s := &Subscription{node: n, f: f}
	n.news.mu.Lock()
	defer n.news.mu.Unlock()
	if n.news.over {
		s.ended = true
		return s
	}
	n.news.subs = append(n.news.subs, s)
	return s
}

// Cancel ends the subscription, any number of times. A call of f that runs is not waited for; no other
// follows, so that it may be called from f.
func (s *Subscription) Cancel() {
	s.mu.Lock()
	s.ended, s.queue, s.missing = true, nil, 0
	s.mu.Unlock()
	w := &s.node.news
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs = slices.DeleteFunc(slices.Clone(w.subs), func(o *Subscription) bool { return o == s })
}

// Lost is how many events did not fit the queue so far.
func (s *Subscription) Lost() int64 { return s.lost.Load() }

// offer queues e.
func (s *Subscription) offer(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.missing > 0 || len(s.queue) >= subscriberQueue {
		s.missing++
		s.lost.Add(1)
		return
	}
	s.queue = append(s.queue, e)
	if !s.busy {
		s.busy = true
		s.node.group.Go("event subscriber", s.run)
	}
}

// run calls f until nothing waits.
func (s *Subscription) run() {
	ended := false
	defer func() {
		if !ended { // runtime.Goexit in f
			s.node.group.Go("event subscriber", s.run)
		}
	}()
	for e := s.next(); e != nil; e = s.next() {
		s.call(e)
	}
	ended = true
}

// next takes the oldest event; nil: there is none, and whoever queues one starts a goroutine.
func (s *Subscription) next() Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		e := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		return e
	}
	s.queue = nil
	if lost := s.missing; lost > 0 {
		s.missing = 0
		return EventsLost{lost}
	}
	s.busy = false
	return nil
}

func (s *Subscription) call(e Event) {
	defer s.node.caught("a subscriber of events")
	s.f(e)
}
