package actor

import (
	"context"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// Future is an answer that any number of goroutines may wait for; all see the same outcome. It is safe
// for concurrent use.
type Future struct {
	sys *System
	id  uint64

	mu      sync.Mutex
	settled bool
	msg     any
	err     error
	done    chan struct{}
	then    []func(msg any, err error)
	stop    func() bool
}

// Request sends e and gives a Future of the answer. After d, if that is positive, the Future fails with
// context.DeadlineExceeded. A send that fails fails the Future.
func (s *System) Request(to *Ref, e Envelope, d time.Duration) *Future {
	return s.request(e, d, func(e Envelope) error { return to.send(&e, nil, patience{}) })
}

// request makes a Future and has send send e, which asks for its outcome.
func (s *System) request(e Envelope, d time.Duration, send func(Envelope) error) *Future {
	f := &Future{sys: s, done: make(chan struct{})}
	slot := s.answers.Take()
	if slot == nil {
		f.settle(nil, errAsksExhausted)
		return f
	}
	slot.Value.future = f
	f.id = slot.ID()
	e.Reply, e.ReplyID = s, f.id
	if err := send(e); err != nil {
		f.fail(err)
		return f
	}
	if d > 0 {
		stop := s.clock.AfterFunc(d, func() { f.fail(context.DeadlineExceeded) })
		f.mu.Lock()
		f.stop = stop
		settled := f.settled
		f.mu.Unlock()
		if settled {
			stop()
		}
	}
	return f
}

// fail settles f with err unless the answer is there already.
func (f *Future) fail(err error) {
	if slot := f.sys.answers.Claim(f.id); slot != nil {
		slot.Value.future = nil
		f.sys.answers.Release(slot)
		f.settle(nil, err)
	}
}

// Cancel fails the Future with core.ErrStopped if no answer has come.
func (f *Future) Cancel() { f.fail(core.WithDelivery(core.ErrStopped, core.DeliveryUnknown)) }

// settle is called once, by whoever claimed the slot.
func (f *Future) settle(msg any, err error) {
	if enc, ok := msg.(Encoded); ok && err == nil {
		msg, err = decodeAnswer(enc)
	}
	f.mu.Lock()
	f.settled, f.msg, f.err = true, msg, err
	then, stop := f.then, f.stop
	f.then, f.stop = nil, nil
	f.mu.Unlock()
	close(f.done)
	if stop != nil {
		stop()
	}
	for _, g := range then {
		g(msg, err)
	}
}

// Done is closed when the outcome is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Result waits for the outcome or the end of ctx; the Future goes on behind an expired ctx.
func (f *Future) Result(ctx context.Context) (any, error) {
	select {
	case <-f.done:
		return f.msg, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// PipeTo sends the outcome to to, at once or when it comes: the answer itself, or the error.
func (f *Future) PipeTo(to *Ref) {
	f.onSettled(func(msg any, err error) {
		if err != nil {
			msg = err
		}
		_ = to.send(&Envelope{Message: msg}, nil, patience{}) // a dead letter is counted by the send
	})
}

// onSettled calls g once with the outcome: now, or on the goroutine that settles f. g must not block.
func (f *Future) onSettled(g func(msg any, err error)) {
	f.mu.Lock()
	if !f.settled {
		f.then = append(f.then, g)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	g(f.msg, f.err)
}
