package actor

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/slab"
)

// answer is what a reply slot holds: a place to wait at, or a Future to be settled.
type answer struct {
	ready  chan struct{} // made once a slot, used by all its uses in turn
	msg    any
	err    error
	future *Future
}

// Ask is one awaited answer: a slot that System.Reply fills by its ID. It is a value; exactly one of
// Wait and Cancel is called, once.
type Ask struct {
	sys  *System
	slot *slab.Slot[answer]
	id   uint64
}

// NewAsk takes a slot. The message that asks carries the System as Envelope.Reply and the Ask's ID as
// Envelope.ReplyID. No allocations.
func (s *System) NewAsk() Ask {
	slot := s.answers.Take()
	if slot == nil {
		return Ask{sys: s}
	}
	if slot.Value.ready == nil {
		slot.Value.ready = make(chan struct{}, 1)
	}
	return Ask{sys: s, slot: slot, id: slot.ID()}
}

// ID names the slot and its present use. It is 0, which nobody can answer, if 16,777,216 answers are
// awaited; Wait then fails.
func (a Ask) ID() uint64 { return a.id }

// Wait waits for the answer or the end of ctx, whose error it then returns; answers that come later are
// dropped. It releases the slot. An answer in wire form is decoded here.
func (a Ask) Wait(ctx context.Context) (any, error) {
	msg, err := a.WaitRaw(ctx)
	if enc, ok := msg.(Encoded); ok {
		return decodeAnswer(enc)
	}
	return msg, err
}

// WaitRaw is Wait that leaves an answer in wire form as it is.
func (a Ask) WaitRaw(ctx context.Context) (any, error) {
	if a.slot == nil {
		return nil, errAsksExhausted
	}
	v := &a.slot.Value
	if done := ctx.Done(); done == nil {
		<-v.ready
	} else {
		select {
		case <-v.ready:
		case <-done:
			if a.sys.answers.Abandon(a.slot) {
				return nil, ctx.Err()
			}
			<-v.ready // the answer is being written
		}
	}
	msg, err := v.msg, v.err
	v.msg, v.err = nil, nil
	a.sys.answers.Release(a.slot)
	if err != nil {
		return nil, err
	}
	return msg, nil
}

func decodeAnswer(enc Encoded) (any, error) {
	msg, err := safeDecode(enc)
	if err != nil {
		return nil, core.WithDelivery(err, core.Delivered)
	}
	return msg, nil
}

// Answer gives an answer its type, as in Answer[int](ref.Ask(ctx, msg)). An answer of another type is a
// core.ErrInvalid.
func Answer[T any](msg any, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	v, ok := msg.(T)
	if !ok {
		err := fmt.Errorf("actor: answer of type %T instead of %v: %w", msg, reflect.TypeFor[T](), core.ErrInvalid)
		return v, core.WithDelivery(err, core.Delivered)
	}
	return v, nil
}

// Cancel releases the slot unused, for instance when the question could not be sent.
func (a Ask) Cancel() {
	if a.slot == nil || a.sys.answers.Abandon(a.slot) {
		return
	}
	v := &a.slot.Value
	<-v.ready
	v.msg, v.err = nil, nil
	a.sys.answers.Release(a.slot)
}

// Reply fills the slot of id: a System is the Replier of its own slots. Late and second answers are
// dropped. It never blocks.
func (s *System) Reply(id uint64, msg any, err error) {
	slot := s.answers.Claim(id)
	if slot == nil {
		return
	}
	v := &slot.Value
	if f := v.future; f != nil {
		v.future = nil
		s.answers.Release(slot)
		f.settle(msg, err)
		return
	}
	v.msg, v.err = msg, err
	v.ready <- struct{}{}
}

// Awaits reports whether somebody still waits for the answer of id: for those who keep IDs and have to
// find out which are of no use any more.
func (s *System) Awaits(id uint64) bool { return s.answers.Waiting(id) }

// Ask sends msg to to and waits for the one answer, no longer than ctx. The error is that of the answer,
// or of the send (core.Undelivered), or of ctx; then the actor may still handle the message. No
// allocations for a local actor. An actor asks through its Context.
func (s *System) Ask(ctx context.Context, to *Ref, msg any) (any, error) {
	return s.ask(ctx, to, Envelope{Message: msg}, nil)
}

func (s *System) ask(ctx context.Context, to *Ref, e Envelope, w *worker) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, core.WithDelivery(err, core.Undelivered)
	}
	a := s.NewAsk()
	if a.slot == nil {
		return nil, errAsksExhausted
	}
	e.Reply, e.ReplyID = s, a.id
	if err := to.send(&e, w, patient(ctx)); err != nil {
		a.Cancel()
		return nil, err
	}
	if w != nil {
		w.flush()
	}
	return a.Wait(ctx)
}

var _ Replier = (*System)(nil)

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
