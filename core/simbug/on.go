//go:build simbug

package simbug

import "sync/atomic"

// Built reports whether mistakes can be switched on.
const Built = true

// active is the mistake that is made. It is package-level because the marked lines are everywhere and
// handed nothing; this file is compiled into builds for tests only.
var active atomic.Pointer[string]

// On reports whether the mistake of this name is to be made.
func On(name string) bool {
	p := active.Load()
	return p != nil && *p == name
}

// Set switches on one mistake and all others off; an empty name: all off. Not while a run is going on.
func Set(name string) { active.Store(&name) }
