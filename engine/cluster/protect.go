package cluster

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// protect calls code of a part or of the application on a goroutine of the engine. A panic in it goes
// to the log and becomes the error.
func (n *Node) protect(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			n.panicked(what, v)
			err = fmt.Errorf("cluster: panic in %s: %v", what, v)
		}
	}()
	return f()
}

// caught is deferred around a function that returns nothing.
func (n *Node) caught(what string) {
	if v := recover(); v != nil {
		n.panicked(what, v)
	}
}

func (n *Node) panicked(what string, v any) {
	n.log.Error("cluster: panic in "+what, "panic", v, "stack", string(debug.Stack()))
}

// protected is o with functions that do not panic. That of actors is protected where it is used.
func (n *Node) protected(o grain.Observer) grain.Observer {
	if f := o.Topology; f != nil {
		o.Topology = func(t core.Topology) { defer n.caught("Observer.Topology"); f(t) }
	}
	if f := o.Activated; f != nil {
		o.Activated = func(a core.Activation, took time.Duration) { defer n.caught("Observer.Activated"); f(a, took) }
	}
	if f := o.Deactivated; f != nil {
		o.Deactivated = func(a core.Activation, why core.StopReason) { defer n.caught("Observer.Deactivated"); f(a, why) }
	}
	if f := o.Resolved; f != nil {
		o.Resolved = func(id core.Identity, source string, took time.Duration, err error) {
			defer n.caught("Observer.Resolved")
			f(id, source, took, err)
		}
	}
	if f := o.Retried; f != nil {
		o.Retried = func(id core.Identity, attempt int, err error) {
			defer n.caught("Observer.Retried")
			f(id, attempt, err)
		}
	}
	if f := o.Fenced; f != nil {
		o.Fenced = func(a core.Activation) { defer n.caught("Observer.Fenced"); f(a) }
	}
	return o
}
