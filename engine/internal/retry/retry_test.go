package retry

import (
	"errors"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/actor"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func half() float64 { return 0.5 }

// engine/cluster tests the rule with every error that a call can end with; this is the rule itself.
func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		err      error
		answered bool
		attempt  int
		policy   Policy
		want     Verdict
	}{
		"no error":                      {want: Verdict{}},
		"an answer":                     {err: core.WithDelivery(core.ErrBusy, core.Undelivered), answered: true},
		"it ran":                        {err: core.WithDelivery(core.ErrBusy, core.Delivered), policy: Policy{Idempotent: true}},
		"it may have run":               {err: core.ErrUnreachable, want: Verdict{Forget: true}},
		"it may have run and may twice": {err: core.ErrUnreachable, policy: Policy{Idempotent: true}, want: Verdict{Retry: true, Forget: true, Wait: 5 * time.Millisecond}},
		"it did not run":                {err: undelivered(core.ErrUnreachable), want: Verdict{Retry: true, Forget: true, Wait: 5 * time.Millisecond}},
		"fenced":                        {err: undelivered(core.ErrFenced), attempt: 1, want: Verdict{Retry: true, Forget: true, Wait: 10 * time.Millisecond}},
		"dead letter, at once":          {err: undelivered(actor.ErrDeadLetter), want: Verdict{Retry: true, Forget: true}},
		"not the owner, again":          {err: undelivered(core.ErrNotOwner), attempt: 2, want: Verdict{Retry: true, Forget: true, Wait: 20 * time.Millisecond}},
		"overloaded":                    {err: undelivered(core.ErrOverloaded), want: Verdict{Wait: 5 * time.Millisecond}},
		"overloaded, told when":         {err: undelivered(core.Retry(core.ErrOverloaded, 50*time.Millisecond)), policy: Policy{Overloaded: true}, want: Verdict{Retry: true, Wait: 55 * time.Millisecond}},
		"overloaded, told far away":     {err: undelivered(core.Retry(core.ErrOverloaded, time.Hour)), policy: Policy{Overloaded: true}, want: Verdict{Retry: true, Wait: MaxAfter + 5*time.Millisecond}},
		"busy, told when":               {err: undelivered(core.Retry(core.ErrBusy, time.Hour)), want: Verdict{Retry: true, Wait: MaxAfter * 9 / 8}},
		"no member":                     {err: undelivered(core.ErrNoMember), attempt: 30, want: Verdict{Retry: true, Wait: lastBackoff / 2}},
		"something else":                {err: undelivered(errors.New("x")), policy: Policy{Idempotent: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Judge(test.err, test.answered, test.attempt, test.policy, half); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// However often a call was tried, the next try waits: a shift knows no bound of its own.
func TestBackoffStaysAtItsLast(t *testing.T) {
	for _, attempt := range []int{10, 30, 40, 63, 64, 1 << 20} {
		got := Judge(undelivered(core.ErrNoMember), false, attempt, Policy{}, half)
		if want := lastBackoff / 2; got.Wait != want {
			t.Errorf("attempt %d: waits %v, want %v", attempt, got.Wait, want)
		}
	}
}

func undelivered(err error) error { return core.WithDelivery(err, core.Undelivered) }

// A call that may run twice was lost on its way once, and then refused: it may have run.
func TestWhole(t *testing.T) {
	refused := undelivered(core.ErrNotOwner)
	if got := Whole(false, refused); core.DeliveryOf(got) != core.Undelivered {
		t.Errorf("the only attempt: %v", core.DeliveryOf(got))
	}
	got := Whole(true, refused)
	if core.DeliveryOf(got) != core.DeliveryUnknown || !errors.Is(got, core.ErrNotOwner) {
		t.Errorf("after one that may have run: %v, %v", got, core.DeliveryOf(got))
	}
	if got := Whole(true, core.WithDelivery(core.ErrBusy, core.Delivered)); core.DeliveryOf(got) != core.Delivered {
		t.Errorf("one that ran for certain: %v", core.DeliveryOf(got))
	}
	if v := Judge(got, false, 1, Policy{Idempotent: true}, half); !v.Retry || !v.Forget {
		t.Errorf("it is not tried again: %+v", v)
	}
}
