package cluster

import (
	"errors"
	"time"

	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/retry"
)

// maxRetryAfter bounds what a peer may ask a caller to wait.
const maxRetryAfter = retry.MaxAfter

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

// judge is the retry rule, engine/internal/retry, for the errors that calls end with here.
func judge(err error, attempt int, p policy, random func() float64) verdict {
	v := retry.Judge(err, isGrainError(err), attempt, retry.Policy{Idempotent: p.idempotent, Overloaded: p.overloaded}, random)
	return verdict{retry: v.Retry, forget: v.Forget, wait: v.Wait}
}

// isGrainError reports whether err is the answer of a grain or the refusal of a call by its content,
// which no other attempt makes better.
func isGrainError(err error) bool {
	_, ok := errors.AsType[*grain.Error](err)
	return ok
}
