package cluster

import (
	"errors"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
)

// The back-off between attempts of one call: it doubles from the first to the last, and each wait is
// drawn from zero to it (full jitter), so that callers which failed together do not return together.
const (
	firstBackoff = 10 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
)

// maxRetryAfter bounds what a peer may ask a caller to wait.
const maxRetryAfter = 5 * time.Second

// policy is what a call allows.
type policy struct {
	idempotent bool // it may run twice
	overloaded bool // it waits for room
}

// verdict is what to do about a failed attempt.
type verdict struct {
	retry  bool
	forget bool          // what is known of the target's place is wrong
	wait   time.Duration // before the next attempt
}

// judge is the retry rule: again only after an attempt that is known not to have run, or if the
// method may run twice, and only where another attempt may end better. attempt counts from 0; random
// gives numbers in [0, 1). It is pure.
func judge(err error, attempt int, p policy, random func() float64) verdict {
	if err == nil {
		return verdict{}
	}
	// A context in err's chain may be one of the engine's own, such as that of a dial: whether the
	// caller still waits is asked where the next attempt is awaited.
	delivery := core.DeliveryOf(err)
	switch {
	case delivery == core.Delivered, isGrainError(err):
		return verdict{}
	case delivery == core.DeliveryUnknown && !p.idempotent:
		return verdict{forget: errors.Is(err, core.ErrUnreachable)}
	}
	after, told := core.RetryAfter(err)
	after = min(after, maxRetryAfter)
	backoff := time.Duration(random() * float64(backoffAt(attempt)))
	switch {
	case errors.Is(err, core.ErrOverloaded):
		return verdict{retry: p.overloaded, wait: after + backoff}
	case errors.Is(err, core.ErrBusy):
		if told {
			return verdict{retry: true, wait: after + time.Duration(random()*float64(after))/4}
		}
		return verdict{retry: true, wait: backoff}
	case errors.Is(err, core.ErrNotOwner), errors.Is(err, actor.ErrDeadLetter):
		if attempt == 0 {
			backoff = 0
		}
		return verdict{retry: true, forget: true, wait: backoff}
	case errors.Is(err, core.ErrUnreachable):
		return verdict{retry: true, forget: true, wait: backoff}
	case errors.Is(err, core.ErrNoMember):
		return verdict{retry: true, wait: backoff}
	case errors.Is(err, core.ErrFenced):
		return verdict{retry: true, forget: true, wait: backoff}
	}
	return verdict{}
}

// isGrainError reports whether err is the answer of a grain or the refusal of a call by its content,
// which no other attempt makes better.
func isGrainError(err error) bool {
	_, ok := errors.AsType[*grain.Error](err)
	return ok
}

func backoffAt(attempt int) time.Duration {
	return min(lastBackoff, firstBackoff<<min(attempt, 10))
}
