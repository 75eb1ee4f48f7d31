package core

import (
	"log/slog"
	"math/rand/v2"
	"time"
)

// Env is what a node lends to a part: to a lookup and a service at Start, to a provider at Join.
type Env struct {
	Logger *slog.Logger                // never nil; already tagged with member and component
	Clock  Clock                       // never nil
	Rand   *rand.Rand                  // this component's own stream, derived from seed and name; one goroutine
	Hooks  *Hooks                      // never nil; fields may be
	Go     func(name string, f func()) // a goroutine the node can name and count; the part joins it
}

// Hooks observe what plug-ins report; they never steer. A nil field costs one comparison. Called on
// the goroutine where the thing happened; they do not block. JoinHooks calls several in turn.
type Hooks struct {
	// Duplicate is told of two activations of one identity: the one that was kept and the one that
	// is being stopped.
	Duplicate func(kept, stopped Activation)
	Timed     func(name string, took time.Duration, err error) // "grain.directory.acquire.seal"
	Counted   func(name string, n int64)
}

// JoinHooks makes hooks that call those of each of hs in turn. Fields that are nil in all of them
// stay nil.
func JoinHooks(hs ...Hooks) (joined Hooks) {
	for _, h := range hs {
		joined.Duplicate = join2(joined.Duplicate, h.Duplicate)
		joined.Timed = join3(joined.Timed, h.Timed)
		joined.Counted = join2(joined.Counted, h.Counted)
	}
	return joined
}

func join2[A, B any](f, g func(A, B)) func(A, B) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A, b B) { f(a, b); g(a, b) }
}

func join3[A, B, C any](f, g func(A, B, C)) func(A, B, C) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A, b B, c C) { f(a, b, c); g(a, b, c) }
}
