package core

import (
	"log/slog"
	"math/rand/v2"
)

// Env is what a node lends to a part: to a lookup and a service at Start, to a provider at Join.
type Env struct {
	Logger *slog.Logger                // never nil; already tagged with member and component
	Clock  Clock                       // never nil
	Rand   *rand.Rand                  // this component's own stream, derived from seed and name; one goroutine
	Hooks  *Hooks                      // never nil; fields may be
	Go     func(name string, f func()) // a goroutine the node can name and count; the part joins it
}
