// Package grain is what the author of a grain and generated code see: kinds and their methods, Self,
// calls and their options, errors that cross the wire, interceptors, observers and services. It
// knows no cluster and no network.
//
// A kind is one sort of grain. Generated code makes it of a service in a .proto file; KindOf makes
// it of a plain Go type:
//
//	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
//	text, err := grain.Call[string](ctx, node, core.Identity{Kind: "Greeter", Key: "world"}, "Say", "you")
//
// A grain's methods are func(ctx context.Context, *Req) (*Resp, error) and run one at a time, as
// turns of its activation. What a grain needs of its node it got as Self when it was made.
//
// # Local and remote are one
//
// A call behaves the same whether its grain runs in this process or in another. Messages of
// protobuf go to a local grain by pointer: they belong to the receiver once sent. Values of plain Go
// types travel as JSON, also locally, so a grain never shares memory with its caller; only booleans,
// integers and strings are handed over as they are, since JSON would not change them. Errors are
// reduced to *Error in both cases; the sentinels of core, context errors and core.RetryAfter survive,
// other error types of the handler do not.
package grain
