package grain

import (
	"context"
	"errors"

	"github.com/granary-go/granary/core"
)

// Caller makes calls: a *cluster.Node outside grains, Self inside them. Safe for concurrent use.
type Caller interface {
	// Call calls one method and waits for the answer, up to the end of ctx or the call's own time.
	// The error tells its delivery (core.DeliveryOf).
	Call(ctx context.Context, r Request) (Reply, error)

	// Tell is one way and never waits for the handler: what cannot be delivered is a dead letter.
	// The error, always Undelivered, is about requests that could not even be sent off.
	Tell(ctx context.Context, r Request) error
}

// Request is one call of one method. Arg belongs to the receiver once sent.
type Request struct {
	To      core.Identity
	Method  string       // its name
	Index   int          // of a generated method in its service; -1: by name
	Arg     any          // a proto.Message; any other value travels as JSON
	Options []CallOption // not modified
}

// Reply is the answer: Value from a local grain, Data from a remote one. Answer decodes both.
type Reply struct {
	Value any    // what the handler returned; JSON where it is neither a message nor a scalar
	Data  []byte // protobuf or JSON, as the method's type of result says
}

// Call calls one method by name and decodes its answer. An answer that does not decode into Resp is
// an Error of code Internal, Delivered.
func Call[Resp any](ctx context.Context, c Caller, to core.Identity, method string, arg any, opts ...CallOption) (Resp, error) {
	return Do[Resp](ctx, c, Request{To: to, Method: method, Index: -1, Arg: arg, Options: opts})
}

// Tell is Call without an answer.
func Tell(ctx context.Context, c Caller, to core.Identity, method string, arg any, opts ...CallOption) error {
	return Send(ctx, c, Request{To: to, Method: method, Index: -1, Arg: arg, Options: opts})
}

var errNoCaller = errors.New("no caller: pass a started node, or the Self of a grain")

// Do is Call of a whole request. Generated clients are made of it. For a local grain it allocates
// nothing of its own.
func Do[Resp any](ctx context.Context, c Caller, r Request) (Resp, error) {
	var none Resp
	if c == nil {
		return none, core.WithDelivery(Errorf(InvalidArgument, "call %s of %s: %w", r.Method, r.To, errNoCaller), core.Undelivered)
	}
	reply, err := c.Call(ctx, r)
	if err != nil {
		return none, err
	}
	out, err := Answer[Resp](reply)
	if err != nil {
		return none, core.WithDelivery(Errorf(Internal, "call %s of %s: the answer: %w", r.Method, r.To, err), core.Delivered)
	}
	return out, nil
}

// Send is Tell of a whole request. Generated clients are made of it.
func Send(ctx context.Context, c Caller, r Request) error {
	if c == nil {
		return core.WithDelivery(Errorf(InvalidArgument, "tell %s of %s: %w", r.Method, r.To, errNoCaller), core.Undelivered)
	}
	return c.Tell(ctx, r)
}
