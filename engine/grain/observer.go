package grain

import (
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// Observer sees what only the engine knows. A nil field costs one comparison. The functions are
// called on the goroutine where the thing happened and do not block. The time of a call is measured
// by an Interceptor.
type Observer struct {
	actor.Observer // mailbox wait, rejections, dead letters

	Topology    func(t core.Topology)                                                // installed
	Activated   func(a core.Activation, took time.Duration)                          // after its first turn
	Deactivated func(a core.Activation, why core.StopReason)                         // after its last turn
	Resolved    func(id core.Identity, source string, took time.Duration, err error) // where it lives: "cache" (known), or "owner" (looked up, without the call itself)
	Retried     func(id core.Identity, attempt int, err error)                       // attempt that failed, from 1
	Fenced      func(a core.Activation)                                              // lease lost or a greater token seen
}
