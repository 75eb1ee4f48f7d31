// Package convert turns values of core into messages of the wire and back. It is the one place of
// the engine where that happens, and where Proto.Actor's topology hash and ID codings live.
//
// Functions named …ToProto never fail for values that core accepts. Functions named …FromProto take
// what a peer sent: they check every bound, keep nothing of the message, never panic, and return
// errors that wrap core.ErrInvalid. All are pure and safe for concurrent use.
package convert
