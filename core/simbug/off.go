//go:build !simbug

package simbug

// Built reports whether mistakes can be switched on.
const Built = false

// On is false: this build makes no mistakes of this kind.
func On(string) bool { return false }

// Set does nothing.
func Set(string) {}
