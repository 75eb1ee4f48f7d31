// Package protos is the wire line: the messages that members exchange, as .proto files in granary/
// and as Go packages generated from them.
//
// Packages actorpb, remotepb and clusterpb hold the messages of Proto.Actor Go with its names and
// numbers, so a member can talk to a Proto.Actor node. Fields from 100 up are Granary's own; a node
// that does not know them skips them. Package granarypb holds Granary's own types, and package
// optionspb what a service may say about its methods.
//
// A program that links these packages cannot also link Proto.Actor Go: two packages of one program
// may not register the same message name.
package protos
