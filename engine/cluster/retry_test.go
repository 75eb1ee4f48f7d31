package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
)

func TestRetryRule(t *testing.T) {
	not := func(err error) error { return core.WithDelivery(fmt.Errorf("x: %w", err), core.Undelivered) }
	unknown := func(err error) error { return core.WithDelivery(fmt.Errorf("x: %w", err), core.DeliveryUnknown) }
	after := func(err error) error {
		return core.WithDelivery(core.Retry(err, 40*time.Millisecond), core.Undelivered)
	}
	letter := &actor.DeadLetterError{}
	tests := []struct {
		name    string
		err     error
		attempt int
		policy  policy
		want    verdict
	}{
		{"no error", nil, 0, policy{}, verdict{}},
		{"no member", not(core.ErrNoMember), 0, policy{}, verdict{retry: true, wait: 5 * time.Millisecond}},
		{"no member, later", not(core.ErrNoMember), 3, policy{}, verdict{retry: true, wait: 40 * time.Millisecond}},
		{"no member, much later", not(core.ErrNoMember), 1000, policy{}, verdict{retry: true, wait: 500 * time.Millisecond}},
		{"busy, with a time", after(core.ErrBusy), 0, policy{}, verdict{retry: true, wait: 45 * time.Millisecond}},
		{"busy, without", not(core.ErrBusy), 0, policy{}, verdict{retry: true, wait: 5 * time.Millisecond}},
		{"overloaded", after(core.ErrOverloaded), 0, policy{}, verdict{wait: 45 * time.Millisecond}},
		{"overloaded, told to wait", after(core.ErrOverloaded), 0, policy{overloaded: true}, verdict{retry: true, wait: 45 * time.Millisecond}},
		{"not the owner: at once", not(core.ErrNotOwner), 0, policy{}, verdict{retry: true, forget: true}},
		{"not the owner, again", not(core.ErrNotOwner), 1, policy{}, verdict{retry: true, forget: true, wait: 10 * time.Millisecond}},
		{"dead letter: at once", letter, 0, policy{}, verdict{retry: true, forget: true}},
		{"dead letter, again", letter, 1, policy{}, verdict{retry: true, forget: true, wait: 10 * time.Millisecond}},
		{"could not connect", not(core.ErrUnreachable), 0, policy{}, verdict{retry: true, forget: true, wait: 5 * time.Millisecond}},
		{"could not connect in the time of a dial", not(fmt.Errorf("%w: %w", core.ErrUnreachable, context.DeadlineExceeded)), 0, policy{}, verdict{retry: true, forget: true, wait: 5 * time.Millisecond}},
		{"the stream ended", unknown(core.ErrUnreachable), 0, policy{}, verdict{forget: true}},
		{"the stream ended, idempotent", unknown(core.ErrUnreachable), 0, policy{idempotent: true}, verdict{retry: true, forget: true, wait: 5 * time.Millisecond}},
		{"fenced", unknown(core.ErrFenced), 0, policy{}, verdict{}},
		{"fenced, idempotent", unknown(core.ErrFenced), 0, policy{idempotent: true}, verdict{retry: true, forget: true, wait: 5 * time.Millisecond}},
		{"cancelled", not(context.Canceled), 0, policy{idempotent: true}, verdict{}},
		{"deadline", unknown(context.DeadlineExceeded), 0, policy{idempotent: true}, verdict{}},
		{"the handler's error", core.WithDelivery(grain.Errorf(grain.Unavailable, "x: %w", core.ErrBusy), core.Delivered), 0, policy{idempotent: true}, verdict{}},
		{"the handler's error, delivery lost", grain.Errorf(grain.Unavailable, "x: %w", core.ErrBusy), 0, policy{idempotent: true}, verdict{}},
		{"unknown method", grain.UnknownMethod(core.Identity{Kind: "K", Key: "k"}, 1, "x"), 0, policy{idempotent: true}, verdict{}},
		{"unknown kind", noKind(core.Identity{Kind: "K", Key: "k"}), 0, policy{idempotent: true}, verdict{}},
		{"stopped", not(core.ErrStopped), 0, policy{idempotent: true}, verdict{}},
		{"another error, not delivered", not(errors.New("x")), 0, policy{idempotent: true}, verdict{}},
		{"told to wait for ever", core.WithDelivery(core.Retry(core.ErrBusy, time.Hour), core.Undelivered), 0, policy{}, verdict{retry: true, wait: maxRetryAfter * 9 / 8}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := judge(test.err, test.attempt, test.policy, half); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestNothingThatMayHaveRunIsTriedAgain goes over all sentinels: without leave, a delivery that is
// unknown or certain never leads to another attempt.
func TestNothingThatMayHaveRunIsTriedAgain(t *testing.T) {
	for _, s := range sentinels {
		for _, d := range []core.Delivery{core.DeliveryUnknown, core.Delivered} {
			if judge(core.WithDelivery(s, d), 0, policy{overloaded: true}, half).retry {
				t.Errorf("%v, %v: tried again", s, d)
			}
		}
	}
}
