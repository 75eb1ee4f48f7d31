package grain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// greeter is a grain of a plain Go type.
type greeter struct {
	self grain.Self
	said int
}

func newGreeter(self grain.Self) (*greeter, error) { return &greeter{self: self}, nil }

func (g *greeter) Say(_ context.Context, name string) (string, error) {
	if name == "" {
		return "", grain.Errorf(grain.InvalidArgument, "nobody to greet")
	}
	g.said++
	return fmt.Sprintf("hello %s, %d", name, g.said), nil
}

func ExampleKindOf() {
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	fmt.Println(kind.Name, kind.Check())
	// Output: Greeter <nil>
}

// The fields of a kind are the application's.
func ExampleKind() {
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	kind.Idle = time.Minute
	kind.Mailbox = -100
	fmt.Println(kind.Check())
	// Output: kind "Greeter": invalid: a negative limit: mailbox -100, activations 0, new ones a second 0
}

// mailer calls another grain from its own turn.
type mailer struct{ self grain.Self }

func (m *mailer) Welcome(ctx context.Context, name string) (string, error) {
	text, err := grain.Call[string](ctx, m.self, core.Identity{Kind: "Greeter", Key: "world"}, "Say", name)
	return "to " + m.self.Identity().Key + ": " + text, err
}

func ExampleSelf() {
	kind := grain.KindOf("Mailer", func(self grain.Self) (*mailer, error) { return &mailer{self}, nil },
		grain.Method("Welcome", (*mailer).Welcome))

	// In a test a Self stands on a backend of the test's own; in a node, on the cluster.
	self := grain.NewSelf(&backend{node: greeterNode(), a: core.Activation{Identity: core.Identity{Kind: "Mailer", Key: "ann"}}})
	g, _ := kind.Instance(self)
	text, err := g.(*mailer).Welcome(context.Background(), "ann")
	fmt.Println(text, err)
	// Output: to ann: hello ann, 1 <nil>
}

func ExampleCall() {
	var node grain.Caller = greeterNode() // a started *cluster.Node
	to := core.Identity{Kind: "Greeter", Key: "world"}

	text, err := grain.Call[string](context.Background(), node, to, "Say", "you")
	fmt.Println(text, err)

	_, err = grain.Call[string](context.Background(), node, to, "Say", "")
	fmt.Println(err)
	fmt.Println(grain.CodeOf(err) == grain.InvalidArgument, core.DeliveryOf(err))
	// Output:
	// hello you, 1 <nil>
	// invalid argument: nobody to greet
	// true delivered
}

func ExampleError() {
	full := grain.NewReason("CART_FULL", "no room for %q", "tea")
	fmt.Println(full)
	fmt.Println(errors.Is(full, &grain.Error{Reason: "CART_FULL"}), grain.ReasonOf(full))
	// Output:
	// CART_FULL: no room for "tea"
	// true CART_FULL
}

func ExampleInterceptor() {
	logged := grain.Interceptor{
		Handle: func(ctx context.Context, in grain.Invocation, next grain.HandleFunc) (any, error) {
			result, err := next(ctx, in)
			fmt.Println(in.Method.Name, grain.CodeOf(err))
			return result, err
		},
	}
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	g, _ := kind.Instance(grain.Self{})
	m, _ := kind.Method(-1, "Say")

	handle := grain.Interceptors{logged}.Handle(grain.Invoke) // the engine does this
	_, _ = handle(context.Background(), grain.Invocation{Method: m, Grain: g, Arg: "you"})
	// Output: Say ok
}

func ExampleCallOption() {
	var node grain.Caller = greeterNode() // a started *cluster.Node
	to := core.Identity{Kind: "Greeter", Key: "world"}

	text, err := grain.Call[string](context.Background(), node, to, "Say", "you",
		grain.Timeout(time.Second), grain.Header("tenant", "a"), grain.RetryOverloaded())
	fmt.Println(text, err)

	o := grain.ResolveOptions([]grain.CallOption{grain.Timeout(time.Second), grain.Timeout(time.Minute)})
	fmt.Println(o.Timeout)
	// Output:
	// hello you, 1 <nil>
	// 1m0s
}

// A turn knows its grain and what came along with the call.
func ExampleTurn() {
	self := grain.NewSelf(&backend{a: core.Activation{Identity: core.Identity{Kind: "Cart", Key: "ann"}}})
	ctx := grain.WithTurn(context.Background(), &grain.Turn{Self: self, Headers: map[string]string{"tenant": "a"}}) // the engine does this
	turn, _ := grain.FromContext(ctx)
	fmt.Println(turn.Identity(), turn.Header("tenant"))
	// Output: Cart/ann a
}

// clock is a service: a part of the node that brings a kind of its own.
type clock struct{ kind grain.Kind }

func (c *clock) Kinds() []grain.Kind                        { return []grain.Kind{c.kind} }
func (c *clock) Start(context.Context, grain.Runtime) error { return nil }
func (c *clock) Stop(context.Context) error                 { return nil }

func ExampleService() {
	services := grain.Services{&clock{grain.KindOf("Clock", newGreeter, grain.Method("Say", (*greeter).Say))}}
	for _, s := range services { // the engine does this
		for _, k := range s.Kinds() {
			fmt.Println(k.Name, s.Start(context.Background(), grain.Runtime{}), s.Stop(context.Background()))
		}
	}
	// Output: Clock <nil> <nil>
}

func ExampleFromContext() {
	ctx := grain.WithTurn(context.Background(), &grain.Turn{Headers: map[string]string{"tenant": "a"}}) // the engine does this
	if turn, ok := grain.FromContext(ctx); ok {
		fmt.Println(strings.ToUpper(turn.Header("tenant")))
	}
	// Output: A
}

func greeterNode() *node {
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	g, _ := kind.Instance(grain.Self{})
	return &node{kind: kind, grain: g}
}
