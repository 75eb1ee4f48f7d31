package grain

import (
	"context"
	"time"
)

// KindOf is a kind of a plain Go type: no protobuf, the same call path and errors. Arguments and
// results travel as JSON, by the rules of encoding/json, also within one process; those that are
// messages of protobuf travel as such.
func KindOf[T any](name string, factory func(Self) (T, error), methods ...MethodOf[T]) Kind {
	specs := make([]MethodSpec, len(methods))
	for i, m := range methods {
		specs[i] = m.spec
		specs[i].Index = i
	}
	return NewKind(name, factory, specs)
}

// MethodOf is one method of a plain Go type.
type MethodOf[T any] struct {
	spec MethodSpec
}

// Method names a method of T: grain.Method("Say", (*Hello).Say).
func Method[T, Req, Resp any](name string, f func(T, context.Context, Req) (Resp, error)) MethodOf[T] {
	spec := MethodSpec{
		Name:        name,
		ArgCodec:    codecOf[Req](),
		DecodeArg:   func(data []byte) (any, error) { return decodePlain[Req](name, data) },
		EncodeReply: encodeReply,
		argRequires: requires[Req](),
	}
	if f == nil {
		return MethodOf[T]{spec}
	}
	resultRequires := requires[Resp]()
	spec.Invoke = func(ctx context.Context, grain, arg any) (any, error) {
		in, err := plainArg[Req](arg)
		if err != nil {
			return nil, refuse(Errorf(InvalidArgument, badArgument, name, err))
		}
		out, err := f(grain.(T), ctx, in)
		if err != nil {
			return nil, err
		}
		if resultRequires {
			return completeResult(nonNil(out))
		}
		return plainReply(out)
	}
	return MethodOf[T]{spec}
}

// Reentrant is m with calls that come back to the grain through their own chain run in the turn that
// waits for them, instead of failing as a cycle.
func (m MethodOf[T]) Reentrant() MethodOf[T] {
	m.spec.Reentrant = true
	return m
}

// Idempotent is m as one that may run twice for one call, so that a call is tried again also when it is
// not known whether it ran.
func (m MethodOf[T]) Idempotent() MethodOf[T] {
	m.spec.Idempotent = true
	return m
}

// Timeout is m with a bound on the time of one call. The ctx of a run ends that long after the begin of its
// turn; a method that does not heed it runs on, and the next call waits for its end. A caller whose node
// hosts the kind gives up after that time with DeadlineExceeded; another one, which cannot know it, waits
// for the method or for a Timeout of its own. Zero or less: no bound.
func (m MethodOf[T]) Timeout(d time.Duration) MethodOf[T] {
	m.spec.Timeout = max(d, 0)
	return m
}

// decoded is an argument that came over the wire and has its type already.
type decoded[T any] struct{ v T }

const badArgument = "method %s: the argument: %w"

func decodePlain[Req any](name string, data []byte) (any, error) {
	v, err := decode[Req](data)
	if err != nil {
		return nil, Errorf(InvalidArgument, badArgument, name, err)
	}
	return decoded[Req]{v}, nil
}

func plainArg[Req any](arg any) (Req, error) {
	if d, ok := arg.(decoded[Req]); ok {
		return d.v, nil
	}
	if v, ok := typed[Req](arg); ok && asIs(arg) {
		return nonNil(v), nil
	}
	return convert[Req](arg)
}

// plainReply is a result as it leaves the turn: it shares no memory with the grain.
func plainReply[Resp any](out Resp) (any, error) {
	var v any = nonNil(out)
	if sameType[Resp]() && asIs(v) {
		return v, nil
	}
	if !sameType[Resp]() && codecOf[Resp]() == CodecJSON && isProto(v) {
		return nil, Errorf(Internal, "the result: a %T in an interface cannot be decoded by a caller", v)
	}
	data, err := marshalJSON(v)
	if err != nil {
		return nil, Errorf(Internal, "the result: %w", err)
	}
	return JSON(data), nil
}
