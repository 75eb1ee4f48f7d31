package grain_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

type order struct {
	Article string
	Count   int
	Tags    []string
	Extra   any
	secret  string
}

// plain is a grain of a plain Go type that answers what it got, and keeps it.
type plain struct{ kept order }

func (p *plain) Echo(_ context.Context, o order) (order, error) {
	p.kept = o
	return o, nil
}
func (p *plain) Kept(context.Context, bool) (*order, error)          { return &p.kept, nil }
func (p *plain) Text(_ context.Context, s string) (string, error)    { return s, nil }
func (p *plain) Number(_ context.Context, n int64) (float64, error)  { return float64(n) / 2, nil }
func (p *plain) Any(_ context.Context, v any) (any, error)           { return v, nil }
func (p *plain) Float(_ context.Context, f float64) (float64, error) { return f, nil }
func (p *plain) NaN(context.Context, string) (float64, error)        { return math.NaN(), nil }
func (p *plain) Raw(_ context.Context, j grain.JSON) (grain.JSON, error) {
	if len(j) == 0 {
		return nil, errors.New("no JSON")
	}
	return j, nil
}
func (p *plain) Kind(_ context.Context, v any) (string, error) {
	return fmt.Sprintf("%T", v), nil
}
func (p *plain) Message(_ context.Context, m *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	if m == nil {
		return nil, errors.New("a nil message")
	}
	if m.Value == "nil" {
		return nil, nil
	}
	return wrapperspb.String(m.Value + "!"), nil
}

func plainKind() grain.Kind {
	return grain.KindOf("Plain", func(grain.Self) (*plain, error) { return &plain{}, nil },
		grain.Method("Echo", (*plain).Echo),
		grain.Method("Kept", (*plain).Kept),
		grain.Method("Text", (*plain).Text),
		grain.Method("Number", (*plain).Number),
		grain.Method("Any", (*plain).Any),
		grain.Method("Float", (*plain).Float),
		grain.Method("NaN", (*plain).NaN),
		grain.Method("Kind", (*plain).Kind).Reentrant(),
		grain.Method("Message", (*plain).Message),
		grain.Method("Raw", (*plain).Raw),
	)
}

var plainID = core.Identity{Kind: "Plain", Key: "1"}

func call[Resp any](t *testing.T, n *node, method string, arg any) Resp {
	t.Helper()
	out, err := grain.Call[Resp](t.Context(), n, plainID, method, arg)
	if err != nil {
		t.Errorf("%s(%v): %v", method, arg, err)
	}
	return out
}

func TestPlainValues(t *testing.T) {
	everyway(t, plainKind(), func(t *testing.T, n *node) {
		full := order{Article: "tea <é>", Count: 2, Tags: []string{"hot"}, Extra: 1, secret: "s"}
		want := order{Article: "tea <é>", Count: 2, Tags: []string{"hot"}, Extra: 1.0} // by way of JSON
		if got := call[order](t, n, "Echo", full); !reflect.DeepEqual(got, want) {
			t.Errorf("Echo: %+v", got)
		}
		if got := call[*order](t, n, "Echo", &full); !reflect.DeepEqual(got, &want) {
			t.Errorf("Echo by pointer: %+v", got)
		}
		if got := call[string](t, n, "Text", "héllo\x00"); got != "héllo\x00" {
			t.Errorf("Text: %q", got)
		}
		if got := call[string](t, n, "Text", "a\xffb"); got != "a\ufffdb" { // what JSON makes of it
			t.Errorf("Text that is not UTF-8: %q", got)
		}
		type label string
		if got := call[label](t, n, "Text", label("l")); got != "l" {
			t.Errorf("Text of another type: %q", got)
		}
		if got := call[float64](t, n, "Number", 7); got != 3.5 { // an int for an int64
			t.Errorf("Number: %v", got)
		}
		if got := call[float64](t, n, "Number", int64(math.MaxInt64)); got != math.MaxInt64/2 {
			t.Errorf("Number: %v", got)
		}
		if got := call[any](t, n, "Any", 7); got != 7.0 {
			t.Errorf("Any: %v (%T)", got, got)
		}
		if got := call[any](t, n, "Any", nil); got != nil {
			t.Errorf("Any of nil: %v", got)
		}
		if got := call[string](t, n, "Kind", int8(7)); got != "float64" {
			t.Errorf("an int8 arrived in an interface as %s", got)
		}
		if got := call[string](t, n, "Kind", order{}); got != "map[string]interface {}" {
			t.Errorf("a struct arrived in an interface as %s", got)
		}
		if got := call[grain.JSON](t, n, "Raw", map[string]int{"a": 1}); string(got) != `{"a":1}` {
			t.Errorf("Raw: %s", got)
		}
		if got := call[map[string]grain.JSON](t, n, "Raw", grain.JSON(`{"a": [1], "b": null}`)); string(got["a"]) != "[1]" || string(got["b"]) != "null" {
			t.Errorf("Raw of JSON: %s", got)
		}
		if got := call[grain.JSON](t, n, "Raw", nil); string(got) != "null" {
			t.Errorf("Raw of nil: %q", got)
		}
		if got := call[map[string]any](t, n, "Any", map[string]grain.JSON{"a": grain.JSON("1"), "b": nil}); got["a"] != 1.0 || got["b"] != nil {
			t.Errorf("JSON within a value: %v", got)
		}
		if got := call[*wrapperspb.StringValue](t, n, "Message", wrapperspb.String("m")); got.GetValue() != "m!" {
			t.Errorf("Message: %v", got)
		}
		if got := call[*wrapperspb.StringValue](t, n, "Message", (*wrapperspb.StringValue)(nil)); got.GetValue() != "!" {
			t.Errorf("Message of nil: %v", got)
		}
		if got := call[*wrapperspb.StringValue](t, n, "Message", wrapperspb.String("nil")); got == nil || got.Value != "" {
			t.Errorf("a nil message as answer: %v", got)
		}
	})
}

// Neither side sees what the other does to a value after it was sent.
func TestPlainValuesShareNothing(t *testing.T) {
	everyway(t, plainKind(), func(t *testing.T, n *node) {
		mine := order{Tags: []string{"sent"}}
		echoed := call[order](t, n, "Echo", mine)
		mine.Tags[0] = "changed by the caller"
		echoed.Tags[0] = "changed in the answer"
		kept := call[*order](t, n, "Kept", true)
		if kept.Tags[0] != "sent" {
			t.Errorf("the grain holds %q", kept.Tags[0])
		}
		kept.Tags[0] = "changed again"
		if again := call[*order](t, n, "Kept", true); again.Tags[0] != "sent" {
			t.Errorf("the grain holds %q", again.Tags[0])
		}
	})
}

func TestPlainRefusals(t *testing.T) {
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	just := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	everyway(t, plainKind(), func(t *testing.T, n *node) {
		for name, row := range map[string]struct {
			method string
			arg    any
			code   grain.Code
			text   string // part of the error
		}{
			"unknown method":          {"Nope", "", grain.Unimplemented, `kind "Plain" has no method "Nope"`},
			"wrong type":              {"Text", 7, grain.InvalidArgument, "cannot unmarshal number"},
			"NaN":                     {"Float", math.NaN(), grain.InvalidArgument, "NaN"},
			"infinity":                {"Float", math.Inf(1), grain.InvalidArgument, "+Inf"},
			"NaN in a struct":         {"Echo", order{Extra: math.NaN()}, grain.InvalidArgument, "NaN"},
			"NaN as answer":           {"NaN", "", grain.Internal, "NaN"},
			"channel":                 {"Any", make(chan int), grain.InvalidArgument, "chan int"},
			"too deep":                {"Any", grain.JSON(deep), grain.InvalidArgument, "64 levels"},
			"malformed":               {"Any", grain.JSON("{"), grain.InvalidArgument, "unexpected end"},
			"two values":              {"Any", grain.JSON("1 2"), grain.InvalidArgument, "after top-level value"},
			"empty":                   {"Any", grain.JSON(""), grain.InvalidArgument, "unexpected end"},
			"JSON for a message":      {"Message", "m", grain.InvalidArgument, ""},
			"message for plain value": {"Text", wrapperspb.String("m"), grain.InvalidArgument, ""},
		} {
			_, err := grain.Call[any](t.Context(), n, plainID, row.method, row.arg)
			if grain.CodeOf(err) != row.code || !strings.Contains(err.Error(), row.text) {
				t.Errorf("%s: %v, want %v with %q", name, err, row.code, row.text)
			}
			want := core.Undelivered // the handler was not called
			if row.code == grain.Internal {
				want = core.Delivered
			}
			if core.DeliveryOf(err) != want {
				t.Errorf("%s: %v is %v, want %v", name, err, core.DeliveryOf(err), want)
			}
		}
		if _, err := grain.Call[any](t.Context(), n, plainID, "Any", grain.JSON(just)); err != nil {
			t.Errorf("64 levels: %v", err)
		}
		if got := call[any](t, n, "Any", `"[[[`); got != `"[[[` { // brackets in a text do not nest
			t.Errorf("brackets: %v", got)
		}
	})
}

// An answer that is not what the caller asked for is an error of the caller's side: the method ran.
func TestAnswerOfAnotherType(t *testing.T) {
	everyway(t, plainKind(), func(t *testing.T, n *node) {
		_, err := grain.Call[int](t.Context(), n, plainID, "Text", "seven")
		if grain.CodeOf(err) != grain.Internal || core.DeliveryOf(err) != core.Delivered || grain.IsRemote(err) {
			t.Errorf("%v, delivery %v", err, core.DeliveryOf(err))
		}
		if _, err := grain.Call[*wrapperspb.StringValue](t.Context(), n, plainID, "Text", "seven"); grain.CodeOf(err) != grain.Internal {
			t.Errorf("a text for a message: %v", err)
		}
		if _, err := grain.Call[any](t.Context(), n, plainID, "Message", wrapperspb.String("m")); grain.CodeOf(err) != grain.Internal {
			t.Errorf("a message for any: %v", err)
		}
	})
}

func TestMethodWithoutFunction(t *testing.T) {
	var none func(*plain, context.Context, string) (string, error)
	kind := grain.KindOf("Plain", func(grain.Self) (*plain, error) { return &plain{}, nil }, grain.Method("Text", none))
	if err := kind.Check(); err == nil || !strings.Contains(err.Error(), `method "Text" has no function`) {
		t.Errorf("Check: %v", err)
	}
}

// Brackets in text are no depth, whatever quotes and backslashes are around them; those after it are.
func TestDepthKnowsText(t *testing.T) {
	const limit = 64
	open, shut := strings.Repeat("[", limit), strings.Repeat("]", limit)
	for name, row := range map[string]struct {
		data string
		deep bool
	}{
		"at the limit":                     {open + shut, false},
		"past it":                          {"[" + open + shut + "]", true},
		"brackets in text":                 {`["` + open + open + `"]`, false},
		"after a quote in text":            {`["\"` + open + open + `"]`, false},
		"after a backslash at text's end":  {`["\\",` + open + shut + `]`, true},
		"after a quote at text's end":      {`["\"",` + open + shut + `]`, true},
		"after a backslash and a quote":    {`["\\\"` + open + open + `"]`, false},
		"closed ones before do not count":  {"[" + strings.Repeat("[],", 2*limit) + "[]]", false},
		"braces, with a quote in the name": {`{"\"":` + open + shut + `}`, true},
	} {
		v, err := grain.Answer[any](grain.Reply{Data: []byte(row.data)})
		if deep := err != nil && strings.Contains(err.Error(), "nests deeper"); deep != row.deep || err != nil && !deep {
			t.Errorf("%s: %v, %v; want too deep: %v", name, v, err, row.deep)
		}
	}
}
