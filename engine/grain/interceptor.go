package grain

import "context"

// Interceptor wraps calls, for telemetry, authorization and the like. A nil field costs one
// comparison. The functions are called from any goroutine and may be called at the same time.
type Interceptor struct {
	// Call wraps a call at its caller, retries included. It may add options, in a slice of its own.
	Call func(ctx context.Context, r Request, next CallFunc) (Reply, error)
	// Tell is the same for a call without an answer.
	Tell func(ctx context.Context, r Request, next TellFunc) error
	// Handle wraps one run of a method, on the turn of its grain.
	Handle func(ctx context.Context, in Invocation, next HandleFunc) (any, error)
}

// Interceptors are the interceptors of a node, outermost first, as one type for wire.
type Interceptors []Interceptor

// CallFunc is the rest of a call.
type CallFunc func(ctx context.Context, r Request) (Reply, error)

// TellFunc is the rest of a call without an answer.
type TellFunc func(ctx context.Context, r Request) error

// HandleFunc is the rest of a run. Its result is what MethodSpec.Invoke returns.
type HandleFunc func(ctx context.Context, in Invocation) (any, error)

// Invocation is one run of a method.
type Invocation struct {
	Self   Self
	Method *MethodSpec
	Grain  any // the instance
	Arg    any // what DecodeArg gave, or what a local caller sent
}

// Invoke runs the method itself: the innermost HandleFunc.
func Invoke(ctx context.Context, in Invocation) (any, error) {
	return in.Method.Invoke(ctx, in.Grain, in.Arg)
}

// Call wraps last in the Call of each interceptor. Without any it is last itself.
func (is Interceptors) Call(last CallFunc) CallFunc {
	for i := len(is) - 1; i >= 0; i-- {
		if f, next := is[i].Call, last; f != nil {
			last = func(ctx context.Context, r Request) (Reply, error) { return f(ctx, r, next) }
		}
	}
	return last
}

// Tell wraps last in the Tell of each interceptor. Without any it is last itself.
func (is Interceptors) Tell(last TellFunc) TellFunc {
	for i := len(is) - 1; i >= 0; i-- {
		if f, next := is[i].Tell, last; f != nil {
			last = func(ctx context.Context, r Request) error { return f(ctx, r, next) }
		}
	}
	return last
}

// Handle wraps last in the Handle of each interceptor. Without any it is last itself.
func (is Interceptors) Handle(last HandleFunc) HandleFunc {
	for i := len(is) - 1; i >= 0; i-- {
		if f, next := is[i].Handle, last; f != nil {
			last = func(ctx context.Context, in Invocation) (any, error) { return f(ctx, in, next) }
		}
	}
	return last
}
