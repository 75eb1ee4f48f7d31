// Package wireform is how what the members of a cluster say to each other of grains looks on the wire:
// calls and their answers, cancels, the ends of activations, the requests of lookups and services, and
// every error. The messages are those of the protos module, written and read by hand, straight into and
// out of the frame; tests hold them to the generated code.
//
// What comes from a peer is never trusted: parsers return errors that wrap core.ErrInvalid, and allocate in
// proportion to what they read. Nothing here keeps state, so all of it may be used from any goroutine.
package wireform
