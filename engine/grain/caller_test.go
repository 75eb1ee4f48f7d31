package grain_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// deaf is a caller that reaches nobody.
type deaf struct{ err error }

func (d deaf) Call(context.Context, grain.Request) (grain.Reply, error) { return grain.Reply{}, d.err }
func (d deaf) Tell(context.Context, grain.Request) error                { return d.err }

func TestCallPassesRequestAndError(t *testing.T) {
	n := newNode(t, plainKind(), false)
	opt := grain.Header("a", "b")
	if _, err := grain.Call[string](t.Context(), n, plainID, "Text", "x", opt); err != nil {
		t.Fatal(err)
	}
	want := grain.Request{To: plainID, Method: "Text", Index: -1, Arg: "x", Options: []grain.CallOption{opt}}
	if !reflect.DeepEqual(n.sent, want) {
		t.Errorf("sent %+v", n.sent)
	}
	if err := grain.Tell(t.Context(), n, plainID, "Float", 1.5); err != nil || n.sent.Method != "Float" {
		t.Errorf("told %+v, %v", n.sent, err)
	}
	boom := errors.New("boom")
	if _, err := grain.Call[string](t.Context(), deaf{boom}, plainID, "Text", "x"); err != boom {
		t.Errorf("Call: %v", err)
	}
	if err := grain.Tell(t.Context(), deaf{boom}, plainID, "Text", "x"); err != boom {
		t.Errorf("Tell: %v", err)
	}
	_, err := grain.Call[string](t.Context(), nil, plainID, "Text", "x")
	for _, err := range []error{err, grain.Tell(t.Context(), nil, plainID, "Text", "x")} {
		if grain.CodeOf(err) != grain.InvalidArgument || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("without a caller: %v, %v", err, core.DeliveryOf(err))
		}
	}
}

func TestOptions(t *testing.T) {
	got := grain.ResolveOptions([]grain.CallOption{
		grain.Timeout(time.Second), grain.Header("a", "1"), grain.Header("b", "2"), grain.Header("a", "3"),
		grain.Timeout(2 * time.Second), grain.Timeout(-1), grain.Timeout(0), grain.Idempotent(), grain.RetryOverloaded(), {},
	})
	want := grain.Options{
		Timeout: 2 * time.Second, Headers: map[string]string{"a": "3", "b": "2"}, Idempotent: true, RetryOverloaded: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := grain.ResolveOptions(nil); !reflect.DeepEqual(got, grain.Options{}) {
		t.Errorf("of none: %+v", got)
	}
}

// Joined options never write into the slices they are made of.
func TestJoinOptions(t *testing.T) {
	first := make([]grain.CallOption, 1, 8)
	first[0] = grain.Idempotent()
	a := grain.JoinOptions(first, []grain.CallOption{grain.Timeout(1)})
	b := grain.JoinOptions(first, []grain.CallOption{grain.Timeout(2)})
	if grain.ResolveOptions(a).Timeout != 1 || grain.ResolveOptions(b).Timeout != 2 {
		t.Errorf("%v and %v", a, b)
	}
	if got := grain.JoinOptions(first, nil); len(got) != 1 || &got[0] != &first[0] {
		t.Errorf("without more: %v", got)
	}
}

func TestChain(t *testing.T) {
	a, b, c := core.Identity{Kind: "A", Key: "1"}, core.Identity{Kind: "B", Key: "x/y"}, core.Identity{Kind: "C", Key: "2"}
	chain := append(make([]core.Identity, 0, 8), grain.AppendChain(grain.AppendChain(nil, a), b)...) // with room to write into
	left, right := grain.AppendChain(chain, c), grain.AppendChain(chain, a)
	if !slices.Equal(left, []core.Identity{a, b, c}) || !slices.Equal(right, []core.Identity{a, b, a}) {
		t.Errorf("%v and %v", left, right)
	}
	if !grain.InChain(chain, b) || grain.InChain(chain, c) {
		t.Error("InChain is wrong")
	}
	for _, row := range []struct {
		to        core.Identity
		reentrant bool
		want      string
	}{
		{c, false, ""},
		{a, true, ""},
		{a, false, "call cycle: the call would wait for itself: A/1 → B/x/y → A/1; make the method reentrant, or use Tell"},
		{b, false, "call cycle: the call would wait for itself: B/x/y → B/x/y; make the method reentrant, or use Tell"},
	} {
		err := grain.CheckChain(chain, row.to, row.reentrant)
		if row.want == "" {
			if err != nil {
				t.Errorf("call of %s: %v", row.to, err)
			}
			continue
		}
		if err == nil || err.Error() != row.want || grain.CodeOf(err) != grain.FailedPrecondition || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("call of %s: %v", row.to, err)
		}
	}
}

func TestChainIsBounded(t *testing.T) {
	var chain []core.Identity
	for i := range grain.MaxChain - 1 {
		chain = grain.AppendChain(chain, core.Identity{Kind: "A", Key: fmt.Sprint(i)})
	}
	to := core.Identity{Kind: "B", Key: "1"}
	if err := grain.CheckChain(chain, to, false); err != nil {
		t.Errorf("%d: %v", len(chain), err)
	}
	chain = grain.AppendChain(chain, to)
	for _, reentrant := range []bool{false, true} {
		err := grain.CheckChain(chain, core.Identity{Kind: "C", Key: "1"}, reentrant)
		if grain.CodeOf(err) != grain.ResourceExhausted || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%d: %v", len(chain), err)
		}
	}
}

func TestInterceptorsRunOutermostFirst(t *testing.T) {
	var steps []string
	layer := func(name string) grain.Interceptor {
		return grain.Interceptor{
			Call: func(ctx context.Context, r grain.Request, next grain.CallFunc) (grain.Reply, error) {
				steps = append(steps, "call "+name)
				r.Options = grain.JoinOptions(r.Options, []grain.CallOption{grain.Header(name, "seen")})
				return next(ctx, r)
			},
			Tell: func(ctx context.Context, r grain.Request, next grain.TellFunc) error {
				steps = append(steps, "tell "+name)
				return next(ctx, r)
			},
			Handle: func(ctx context.Context, in grain.Invocation, next grain.HandleFunc) (any, error) {
				steps = append(steps, "handle "+name)
				return next(ctx, in)
			},
		}
	}
	n := newNode(t, plainKind(), false)
	is := grain.Interceptors{layer("outer"), {}, layer("inner")}
	if _, err := is.Call(n.Call)(t.Context(), grain.Request{To: plainID, Method: "Text", Index: -1, Arg: "x"}); err != nil {
		t.Fatal(err)
	}
	if h := grain.ResolveOptions(n.sent.Options).Headers; h["outer"] != "seen" || h["inner"] != "seen" {
		t.Errorf("headers %v", h)
	}
	if err := is.Tell(n.Tell)(t.Context(), grain.Request{To: plainID, Method: "Text", Index: -1, Arg: "x"}); err != nil {
		t.Fatal(err)
	}
	m, _ := n.kind.Method(-1, "Text")
	if v, err := is.Handle(grain.Invoke)(t.Context(), grain.Invocation{Method: m, Grain: n.grain, Arg: "x"}); v != "x" || err != nil {
		t.Errorf("handled: %v, %v", v, err)
	}
	want := []string{"call outer", "call inner", "tell outer", "tell inner", "handle outer", "handle inner"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
	if v, err := (grain.Interceptors)(nil).Handle(grain.Invoke)(t.Context(), grain.Invocation{Method: m, Grain: n.grain, Arg: "y"}); v != "y" || err != nil {
		t.Errorf("without interceptors: %v, %v", v, err)
	}
}
