// Package retry is the rule by which calls are tried again. It is pure, so that simulations judge by
// the very code that ships.
package retry

import (
	"errors"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
)

// The back-off between attempts of one call: it doubles from the first to the last, and each wait is
// drawn from zero to it (full jitter), so that callers which failed together do not return together.
const (
	firstBackoff = 10 * time.Millisecond
	lastBackoff  = time.Second
)

// MaxAfter bounds what a peer may ask a caller to wait.
const MaxAfter = 5 * time.Second

// Policy is what a call allows.
type Policy struct {
	Idempotent bool // it may run twice
	Overloaded bool // it waits for room
}

// Verdict is what to do about a failed attempt.
type Verdict struct {
	Retry  bool
	Forget bool          // what is known of the target's place is wrong
	Wait   time.Duration // before the next attempt
}

// Judge is the retry rule: again only after an attempt that is known not to have run, or if the
// method may run twice, and only where another attempt may end better. answered says that err is the
// grain's answer, or refuses the call by its content, which no other attempt makes better. attempt
// counts from 0; random gives numbers in [0, 1).
func Judge(err error, answered bool, attempt int, p Policy, random func() float64) Verdict {
	if err == nil {
		return Verdict{}
	}
	// A context in err's chain may be one of the engine's own, such as that of a dial: whether the
	// caller still waits is asked where the next attempt is awaited.
	delivery := core.DeliveryOf(err)
	switch {
	case delivery == core.Delivered, answered:
		return Verdict{}
	case delivery == core.DeliveryUnknown && !p.Idempotent && !simbug.On("retry-after-unknown"):
		return Verdict{Forget: errors.Is(err, core.ErrUnreachable)}
	}
	return again(err, attempt, p, random)
}

// again judges an attempt that may be followed by another.
func again(err error, attempt int, p Policy, random func() float64) Verdict {
	after, told := core.RetryAfter(err)
	after = min(after, MaxAfter)
	backoff := time.Duration(random() * float64(backoffAt(attempt)))
	switch {
	case errors.Is(err, core.ErrOverloaded):
		return Verdict{Retry: p.Overloaded, Wait: after + backoff}
	case errors.Is(err, core.ErrBusy):
		if told {
			return Verdict{Retry: true, Wait: after + time.Duration(random()*float64(after))/4}
		}
		return Verdict{Retry: true, Wait: backoff}
	case errors.Is(err, core.ErrNotOwner), errors.Is(err, actor.ErrDeadLetter):
		if attempt == 0 {
			backoff = 0
		}
		return Verdict{Retry: true, Forget: !simbug.On("cache-keeps-dead-letter"), Wait: backoff}
	case errors.Is(err, core.ErrUnreachable), errors.Is(err, core.ErrFenced):
		return Verdict{Retry: true, Forget: true, Wait: backoff}
	case errors.Is(err, core.ErrNoMember):
		return Verdict{Retry: true, Wait: backoff}
	}
	return Verdict{}
}

// Whole is the error of an attempt as that of the whole call: where an attempt before may have run, the
// call may have, however the last one ended.
func Whole(ran bool, err error) error {
	if ran && !simbug.On("retry-forgets-attempt") && core.DeliveryOf(err) == core.Undelivered {
		return core.WithDelivery(err, core.DeliveryUnknown)
	}
	return err
}

func backoffAt(attempt int) time.Duration {
	return min(lastBackoff, firstBackoff<<min(attempt, 10))
}
