package actor

import (
	"context"
	"fmt"
	"reflect"

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
