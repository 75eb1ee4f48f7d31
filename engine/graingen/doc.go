// Package graingen turns the services of .proto files into the Go code of grains. It is what
// protoc-gen-go-grain runs behind protoc or buf, and granary-gen in its own process.
//
// For a service Cart it writes, beside the messages that protoc-gen-go writes:
//
//   - CartGrain, the interface that a grain implements: Method(ctx, *Req) (*Resp, error);
//   - CartKind(factory), the kind to give to a node;
//   - Cart(caller, key), the client, a CartRef; and CartClient, its methods as an interface;
//   - UnimplementedCartGrain, to embed, so that new methods do not break a grain;
//   - FakeCart, functions in place of a grain or of its client, for tests.
//
// Of an enum ErrorReason it makes, for a value CART_FULL, a constructor ErrCartFull and a predicate
// IsCartFull of errors with that reason.
//
// Methods take the options of granary/options.proto. Of the option that Proto.Actor's generator
// reads, extension 50000 of message options.MethodOptions, reenterable counts as reentrant; the rest
// of it changes nothing here. Streaming methods, names that the generated code needs, also where an
// imported Go package has one, and the proto packages of Granary's own messages are errors that name
// file, line and method.
package graingen
