// Package simbug marks lines that a build with the tag simbug can replace by a mistake, to show that
// the simulation would find it:
//
//	if simbug.On("cache-keeps-dead") {
//		return false
//	}
//
// Without the tag On is constant false and the line compiles to nothing. With it one mistake at a time
// is switched on by Set. Such builds are for tests only.
package simbug
