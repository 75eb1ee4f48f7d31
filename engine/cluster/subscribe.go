package cluster

import (
	"slices"
	"sync"
	"sync/atomic"
)

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
