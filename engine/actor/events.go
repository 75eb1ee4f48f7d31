package actor

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// eventQueue is how many events may wait for one subscriber; more are dropped and counted.
const eventQueue = 1024

// EventStream hands events to whoever subscribed. Publish never waits: each subscriber has a queue and,
// while that is not empty, a goroutine of its own, so a slow one and one that panics hurt nobody else.
// It is safe for concurrent use.
type EventStream struct {
	sys  *System
	mu   sync.Mutex
	subs []*Subscription // copied on change
	n    atomic.Int32
	over bool
}

// Subscription is one subscriber of an EventStream.
type Subscription struct {
	stream  *EventStream
	f       func(event any)
	dropped atomic.Int64

	mu    sync.Mutex
	queue []any
	busy  bool
	ended bool
}

// Subscribe calls f with each event published from now on, in order, one at a time, on a goroutine of
// the system. Events that come while f runs are kept, up to 1,024; those beyond are dropped and counted.
func (s *EventStream) Subscribe(f func(event any)) *Subscription {
	sub := &Subscription{stream: s, f: f}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		sub.ended = true
		return sub
	}
	s.subs = append(s.subs[:len(s.subs):len(s.subs)], sub)
	s.n.Add(1)
	return sub
}

// SubscribeOf is Subscribe for the events of one type; an interface type means all that implement it.
func SubscribeOf[T any](s *EventStream, f func(event T)) *Subscription {
	return s.Subscribe(func(event any) {
		if e, ok := event.(T); ok {
			f(e)
		}
	})
}

// SubscribeRef tells each event that want accepts to to; a nil want accepts all.
func (s *EventStream) SubscribeRef(to *Ref, want func(event any) bool) *Subscription {
	return s.Subscribe(func(event any) {
		if _, lost := event.(DeadLetter); lost && event.(DeadLetter).Target == to.PID() {
			return // or each dead letter of to would be one more
		}
		if want == nil || want(event) {
			_ = to.send(&Envelope{Message: event}, nil, patience{}) // a full mailbox is reported by the send
		}
	})
}

// Publish hands event to all subscribers. It does not wait for them.
func (s *EventStream) Publish(event any) {
	if !s.active() {
		return
	}
	s.mu.Lock()
	subs := s.subs
	s.mu.Unlock()
	for _, sub := range subs {
		sub.offer(event)
	}
}

// Len is the number of subscribers.
func (s *EventStream) Len() int { return int(s.n.Load()) }

func (s *EventStream) active() bool { return s.n.Load() > 0 }

// close ends all subscriptions.
func (s *EventStream) close() {
	s.mu.Lock()
	s.over = true
	subs := s.subs
	s.mu.Unlock()
	for _, sub := range subs {
		sub.Cancel()
	}
}

// Cancel ends the subscription. A call of f that runs is not waited for; no other follows.
func (b *Subscription) Cancel() {
	b.mu.Lock()
	b.ended, b.queue = true, nil
	b.mu.Unlock()
	s := b.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, sub := range s.subs {
		if sub == b {
			rest := append([]*Subscription(nil), s.subs[:i]...)
			s.subs = append(rest, s.subs[i+1:]...)
			s.n.Add(-1)
			return
		}
	}
}

// Dropped is the number of events that did not fit the subscriber's queue.
func (b *Subscription) Dropped() int64 { return b.dropped.Load() }

func (b *Subscription) offer(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended:
	case len(b.queue) >= eventQueue:
		b.dropped.Add(1)
	default:
		b.queue = append(b.queue, event)
		if !b.busy {
			b.busy = true
			b.stream.sys.goroutines.Go("event subscriber", b.drain)
		}
	}
}

func (b *Subscription) drain() {
	ended := false
	defer func() {
		if !ended { // runtime.Goexit in f
			b.stream.sys.goroutines.Go("event subscriber", b.drain)
		}
	}()
	for event, ok := b.next(); ok; event, ok = b.next() {
		b.call(event)
	}
	ended = true
}

// next takes the oldest event; false: there is none, and whoever offers one starts a goroutine.
func (b *Subscription) next() (event any, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.busy, b.queue = false, nil
		return nil, false
	}
	event = b.queue[0]
	b.queue[0] = nil
	b.queue = b.queue[1:]
	return event, true
}

func (b *Subscription) call(event any) {
	defer func() {
		if v := recover(); v != nil {
			b.stream.sys.log.Error("actor: event subscriber panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	b.f(event)
}
