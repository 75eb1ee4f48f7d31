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
	"github.com/granary-go/granary/engine/internal/retry"
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
		policy  retry.Policy
		want    retry.Verdict
	}{
		{"no error", nil, 0, retry.Policy{}, retry.Verdict{}},
		{"no member", not(core.ErrNoMember), 0, retry.Policy{}, retry.Verdict{Retry: true, Wait: 5 * time.Millisecond}},
		{"no member, later", not(core.ErrNoMember), 3, retry.Policy{}, retry.Verdict{Retry: true, Wait: 40 * time.Millisecond}},
		{"no member, much later", not(core.ErrNoMember), 1000, retry.Policy{}, retry.Verdict{Retry: true, Wait: 500 * time.Millisecond}},
		{"busy, with a time", after(core.ErrBusy), 0, retry.Policy{}, retry.Verdict{Retry: true, Wait: 45 * time.Millisecond}},
		{"busy, without", not(core.ErrBusy), 0, retry.Policy{}, retry.Verdict{Retry: true, Wait: 5 * time.Millisecond}},
		{"overloaded", after(core.ErrOverloaded), 0, retry.Policy{}, retry.Verdict{Wait: 45 * time.Millisecond}},
		{"overloaded, told to wait", after(core.ErrOverloaded), 0, retry.Policy{Overloaded: true}, retry.Verdict{Retry: true, Wait: 45 * time.Millisecond}},
		{"not the owner: at once", not(core.ErrNotOwner), 0, retry.Policy{}, retry.Verdict{Retry: true, Forget: true}},
		{"not the owner, again", not(core.ErrNotOwner), 1, retry.Policy{}, retry.Verdict{Retry: true, Forget: true, Wait: 10 * time.Millisecond}},
		{"dead letter: at once", letter, 0, retry.Policy{}, retry.Verdict{Retry: true, Forget: true}},
		{"dead letter, again", letter, 1, retry.Policy{}, retry.Verdict{Retry: true, Forget: true, Wait: 10 * time.Millisecond}},
		{"could not connect", not(core.ErrUnreachable), 0, retry.Policy{}, retry.Verdict{Retry: true, Forget: true, Wait: 5 * time.Millisecond}},
		{"could not connect in the time of a dial", not(fmt.Errorf("%w: %w", core.ErrUnreachable, context.DeadlineExceeded)), 0, retry.Policy{}, retry.Verdict{Retry: true, Forget: true, Wait: 5 * time.Millisecond}},
		{"the stream ended", unknown(core.ErrUnreachable), 0, retry.Policy{}, retry.Verdict{Forget: true}},
		{"the stream ended, idempotent", unknown(core.ErrUnreachable), 0, retry.Policy{Idempotent: true}, retry.Verdict{Retry: true, Forget: true, Wait: 5 * time.Millisecond}},
		{"fenced", unknown(core.ErrFenced), 0, retry.Policy{}, retry.Verdict{}},
		{"fenced, idempotent", unknown(core.ErrFenced), 0, retry.Policy{Idempotent: true}, retry.Verdict{Retry: true, Forget: true, Wait: 5 * time.Millisecond}},
		{"cancelled", not(context.Canceled), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"deadline", unknown(context.DeadlineExceeded), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"the handler's error", core.WithDelivery(grain.Errorf(grain.Unavailable, "x: %w", core.ErrBusy), core.Delivered), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"the handler's error, delivery lost", grain.Errorf(grain.Unavailable, "x: %w", core.ErrBusy), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"unknown method", grain.UnknownMethod(core.Identity{Kind: "K", Key: "k"}, 1, "x"), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"unknown kind", noKind(core.Identity{Kind: "K", Key: "k"}), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"stopped", not(core.ErrStopped), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"another error, not delivered", not(errors.New("x")), 0, retry.Policy{Idempotent: true}, retry.Verdict{}},
		{"told to wait for ever", core.WithDelivery(core.Retry(core.ErrBusy, time.Hour), core.Undelivered), 0, retry.Policy{}, retry.Verdict{Retry: true, Wait: retry.MaxAfter * 9 / 8}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := retry.Judge(test.err, isGrainError(test.err), test.attempt, test.policy, func() float64 { return 0.5 }); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}
