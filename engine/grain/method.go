package grain

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
)

// MethodSpec is one method of a kind, as the engine sees it. Generated code and Method make it; it
// is not modified afterwards.
type MethodSpec struct {
	Name       string
	Index      int           // position in the kind
	Reentrant  bool          // a call that comes back through its own chain runs in the turn that waits for it
	Idempotent bool          // may run twice for one call
	OneWay     bool          // the handler has no result; its error goes to the log
	Timeout    time.Duration // after which the ctx of one run ends; 0: not said
	ArgCodec   string        // of the argument; what comes in another codec is refused

	// DecodeArg reads an argument. It keeps data no longer than the call. The error is of code
	// InvalidArgument.
	DecodeArg func(data []byte) (any, error)
	// Invoke runs the method of grain on a local argument or on what DecodeArg gave, and returns a
	// message, a scalar or JSON. The error is the handler's own, or of code InvalidArgument if arg is
	// not what the method takes, which ArgumentRefused tells; ErrorOf makes of it what the caller may
	// see.
	Invoke func(ctx context.Context, grain, arg any) (any, error)
	// EncodeReply appends the binary form of what Invoke returned. The error is of code Internal.
	EncodeReply func(v any, b []byte) ([]byte, error)

	argRequires bool // the argument is a message that may lack a required field
}

// Prepare is PrepareArg for this method: an argument that lacks a required field of proto2 is refused, as it
// is where it has to be encoded. The error is of code InvalidArgument.
func (m *MethodSpec) Prepare(arg any) (any, error) {
	arg, err := PrepareArg(arg)
	if err == nil && m.argRequires {
		if err := complete(arg); err != nil {
			return nil, Errorf(InvalidArgument, "the argument: %w", err)
		}
	}
	return arg, err
}

// Decode is DecodeArg behind a check of the codec. The error is of code InvalidArgument.
func (m *MethodSpec) Decode(codec string, data []byte) (any, error) {
	if codec != m.ArgCodec {
		return nil, Errorf(InvalidArgument, "method %s takes %s, the argument is %s", m.Name, codecText(m.ArgCodec), codecText(codec))
	}
	return m.DecodeArg(data)
}

// refusal is the error of an argument with which the handler was not even called.
type refusal struct{ err *Error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(err *Error) error { return &refusal{err} }

// ArgumentRefused reports whether Invoke failed without a call of the handler, so that the request is
// Undelivered, as it is where a remote argument cannot be decoded.
func ArgumentRefused(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

func codecText(codec string) string {
	switch codec {
	case CodecProto:
		return "protobuf"
	case CodecJSON:
		return "JSON"
	}
	return "an unknown codec"
}

// message is a pointer to T that is a generated message.
type message[T any] interface {
	*T
	proto.Message
}

// ProtoMethod completes spec with a method that takes and returns messages. Generated code calls it
// with a method expression: grain.ProtoMethod(spec, CartGrain.Add).
func ProtoMethod[G, Req, Resp any, In message[Req], Out message[Resp]](
	spec MethodSpec, f func(G, context.Context, In) (Out, error),
) MethodSpec {
	spec.DecodeArg, spec.argRequires = decodeMessage[Req, In], requires[In]()
	resultRequires := requires[Out]()
	spec.Invoke = func(ctx context.Context, grain, arg any) (any, error) {
		in, err := messageArg[Req, In](spec.Name, arg)
		if err != nil {
			return nil, err
		}
		out, err := f(grain.(G), ctx, in)
		if err != nil {
			return nil, err
		}
		if out == nil { // what a remote caller would get
			out = new(Resp)
		}
		if resultRequires {
			return completeResult(out)
		}
		return out, nil
	}
	spec.EncodeReply = encodeReply
	return spec
}

// ProtoOneWay completes spec with a method that takes a message and returns an error only.
func ProtoOneWay[G, Req any, In message[Req]](spec MethodSpec, f func(G, context.Context, In) error) MethodSpec {
	spec.OneWay = true
	spec.DecodeArg, spec.argRequires = decodeMessage[Req, In], requires[In]()
	spec.Invoke = func(ctx context.Context, grain, arg any) (any, error) {
		in, err := messageArg[Req, In](spec.Name, arg)
		if err != nil {
			return nil, err
		}
		return nil, f(grain.(G), ctx, in)
	}
	spec.EncodeReply = encodeReply
	return spec
}

func decodeMessage[Req any, In message[Req]](data []byte) (any, error) {
	in := In(new(Req))
	if err := unmarshalProto(data, in); err != nil {
		return nil, Errorf(InvalidArgument, "the argument: %w", err)
	}
	return in, nil
}

// messageArg is a local argument as a handler may rely on it: of its type, and not nil.
func messageArg[Req any, In message[Req]](name string, arg any) (In, error) {
	in, ok := arg.(In)
	if !ok {
		return nil, refuse(Errorf(InvalidArgument, "method %s takes a %T, the argument is a %T", name, in, arg))
	}
	if in == nil { // what a remote grain would get
		in = new(Req)
	}
	return in, nil
}

// encodeReply appends nothing for the nil that a one-way method returns.
func encodeReply(v any, b []byte) ([]byte, error) {
	if v == nil {
		return b, nil
	}
	data, _, err := encode(v, b)
	if err != nil {
		return b, Errorf(Internal, "the result: %w", err)
	}
	return data, nil
}
