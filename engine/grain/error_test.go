package grain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

var sentinels = map[error]grain.Code{
	context.DeadlineExceeded: grain.DeadlineExceeded,
	context.Canceled:         grain.Canceled,
	core.ErrInvalid:          grain.InvalidArgument,
	core.ErrUnsupported:      grain.Unimplemented,
	core.ErrNotFound:         grain.NotFound,
	core.ErrConflict:         grain.Aborted,
	core.ErrFenced:           grain.Aborted,
	core.ErrEvicted:          grain.Unavailable,
	core.ErrNoMember:         grain.Unavailable,
	core.ErrNoKind:           grain.Unimplemented,
	core.ErrNotOwner:         grain.Unavailable,
	core.ErrBusy:             grain.Unavailable,
	core.ErrOverloaded:       grain.ResourceExhausted,
	core.ErrUnreachable:      grain.Unavailable,
	core.ErrStopped:          grain.Unavailable,
}

// failing is a grain whose method returns one error.
type failing struct{ err error }

func (f *failing) Fail(context.Context, string) (string, error) { return "", f.err }

// fail returns what a caller sees of err, here or from another member.
func fail(t *testing.T, err error, remote bool) error {
	t.Helper()
	kind := grain.KindOf("Failing", func(grain.Self) (*failing, error) { return &failing{err}, nil },
		grain.Method("Fail", (*failing).Fail))
	_, got := grain.Call[string](t.Context(), newNode(t, kind, remote), core.Identity{Kind: "Failing", Key: "1"}, "Fail", "")
	return got
}

// Whatever a handler returns, its caller cannot tell by errors.Is, errors.As, code, reason, details,
// text or retry time whether the handler is in its own process.
func TestErrorsLocalAndRemoteAreTheSame(t *testing.T) {
	rows := map[string]struct {
		err    error
		code   grain.Code
		reason string
		is     []error
		not    []error
		retry  time.Duration
	}{
		"plain error":       {err: io.EOF, code: grain.Unknown, reason: "UNKNOWN", not: []error{io.EOF}},
		"own reason":        {err: grain.NewReason("CART_FULL", "no room for %d", 3), code: grain.Unknown, reason: "CART_FULL", is: []error{&grain.Error{Reason: "CART_FULL"}, &grain.Error{Code: grain.Unknown}}, not: []error{&grain.Error{Reason: "SOLD_OUT"}}},
		"reason and code":   {err: &grain.Error{Code: grain.NotFound, Reason: "NO_CART", Details: map[string]string{"a": "b"}}, code: grain.NotFound, reason: "NO_CART"},
		"reason of a code":  {err: grain.NewReason("NOT_FOUND", "gone"), code: grain.NotFound, reason: "NOT_FOUND", is: []error{&grain.Error{Code: grain.NotFound}}},
		"wrapped":           {err: fmt.Errorf("adding: %w", &grain.Error{Code: grain.NotFound, Reason: "NO_CART", Message: "m", Details: map[string]string{"a": "b"}}), code: grain.NotFound, reason: "NO_CART"},
		"sentinel in Error": {err: grain.Errorf(grain.Internal, "store: %w", core.ErrConflict), code: grain.Internal, reason: "INTERNAL", is: []error{core.ErrConflict}, not: []error{core.ErrFenced}},
		"retry after":       {err: core.Retry(core.ErrBusy, 3*time.Second), code: grain.Unavailable, reason: "UNAVAILABLE", is: []error{core.ErrBusy}, retry: 3 * time.Second},
		"retry of no other": {err: core.Retry(io.EOF, time.Second), code: grain.Unknown, reason: "UNKNOWN", retry: time.Second},
		"own ctx error":     {err: fmt.Errorf("query: %w", context.DeadlineExceeded), code: grain.DeadlineExceeded, reason: "DEADLINE_EXCEEDED", is: []error{context.DeadlineExceeded}},
		"code OK":           {err: &grain.Error{Message: "m"}, code: grain.Unknown, reason: "UNKNOWN", not: []error{&grain.Error{Code: grain.OK}}},
		"code 99":           {err: &grain.Error{Code: 99, Message: "m"}, code: grain.Unknown, reason: "UNKNOWN"},
		"reason over code":  {err: &grain.Error{Code: grain.Internal, Reason: "NOT_FOUND"}, code: grain.NotFound, reason: "NOT_FOUND", not: []error{&grain.Error{Code: grain.Internal}}},
		"reserved details":  {err: &grain.Error{Code: grain.Internal, Reason: "X", Details: map[string]string{"granary.code": "ABORTED", "granary.engine": "error", "a": "b"}}, code: grain.Internal, reason: "X"},
		"not UTF-8":         {err: &grain.Error{Code: grain.Internal, Message: "a\xff", Reason: "R\xff", Details: map[string]string{"\xff": "\xff"}}, code: grain.Internal, reason: "R\ufffd"},
		"long":              {err: &grain.Error{Code: grain.Internal, Message: strings.Repeat("ä", 1<<20), Reason: strings.Repeat("R", 300)}, code: grain.Internal, reason: strings.Repeat("R", 256)},
		"large details":     {err: &grain.Error{Code: grain.Internal, Reason: "X", Details: map[string]string{"a": strings.Repeat("x", 61<<10)}}, code: grain.Internal, reason: "X"},
		"a nil *Error":      {err: (*grain.Error)(nil), code: grain.Unknown, reason: "UNKNOWN", not: []error{&grain.Error{Code: grain.Internal}, io.EOF}},
		"another's answer":  {err: core.WithDelivery(grain.FromWire(grain.WireError{Reason: "NOT_FOUND", Message: "m"}), core.Delivered), code: grain.NotFound, reason: "NOT_FOUND"},
		"inner delivery":    {err: core.WithDelivery(core.ErrNotOwner, core.Undelivered), code: grain.Unavailable, reason: "UNAVAILABLE", is: []error{core.ErrNotOwner}},
	}
	for s, code := range sentinels {
		r := rows["plain error"]
		r.err, r.code, r.reason, r.is, r.not = fmt.Errorf("op: %w", s), code, code.Reason(), []error{s, &grain.Error{Code: code}}, nil
		for other := range sentinels {
			if other != s {
				r.not = append(r.not, other)
			}
		}
		rows["sentinel "+s.Error()] = r
	}
	for code := grain.Canceled; code <= grain.Unauthenticated; code++ {
		r := rows["plain error"]
		r.err, r.code, r.reason = &grain.Error{Code: code, Message: "m"}, code, code.Reason()
		r.is, r.not = []error{&grain.Error{Code: code}}, []error{&grain.Error{Code: grain.OK}, core.ErrBusy}
		rows["code "+code.String()] = r
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			local, remote := fail(t, row.err, false), fail(t, row.err, true)
			for where, err := range map[string]error{"local": local, "remote": remote} {
				if got := grain.CodeOf(err); got != row.code {
					t.Errorf("%s: code %v, want %v", where, got, row.code)
				}
				if got := grain.ReasonOf(err); got != row.reason {
					t.Errorf("%s: reason %q, want %q", where, got, row.reason)
				}
				for _, is := range row.is {
					if !errors.Is(err, is) {
						t.Errorf("%s: %v is not %v", where, err, is)
					}
				}
				for _, not := range row.not {
					if errors.Is(err, not) {
						t.Errorf("%s: %v is %v", where, err, not)
					}
				}
				if after, _ := core.RetryAfter(err); after != row.retry {
					t.Errorf("%s: retry after %v, want %v", where, after, row.retry)
				}
				if core.DeliveryOf(err) != core.Delivered {
					t.Errorf("%s: delivery %v", where, core.DeliveryOf(err))
				}
				if grain.IsRemote(err) != (where == "remote") {
					t.Errorf("%s: IsRemote is %v", where, grain.IsRemote(err))
				}
			}
			l, r := as(t, local), as(t, remote)
			if l.Error() != r.Error() || l.Message != r.Message || l.Code != r.Code || l.Reason != r.Reason || !reflect.DeepEqual(l.Details, r.Details) {
				t.Errorf("local %#v\nremote %#v", l, r)
			}
		})
	}
}

func as(t *testing.T, err error) *grain.Error {
	t.Helper()
	e, ok := errors.AsType[*grain.Error](err)
	if !ok {
		t.Fatalf("%v (%T) holds no *grain.Error", err, err)
	}
	return e
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*grain.Error{
		"not found: no cart": {Code: grain.NotFound, Message: "no cart"},
		"not found":          {Code: grain.NotFound},
		"CART_FULL: 3 lines": {Code: grain.Unknown, Reason: "CART_FULL", Message: "3 lines"},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	inner := core.WithDelivery(&grain.Error{Code: grain.NotFound, Message: "no cart"}, core.Delivered)
	for want, err := range map[string]error{
		"unknown: EOF":                 io.EOF,
		"not found: no cart":           inner, // passed on from another grain
		"not found: adding: no cart":   fmt.Errorf("adding: %w", inner),
		"not found: adding: not found": fmt.Errorf("adding: %w", &grain.Error{Code: grain.NotFound}),
		"unknown: a nil *grain.Error":  (*grain.Error)(nil),
	} {
		if got := fail(t, err, true).Error(); got != want {
			t.Errorf("%v became %q, want %q", err, got, want)
		}
	}
}

// What crosses the wire is bounded and UTF-8 at the bounds, one below and one above.
func TestErrorBounds(t *testing.T) {
	for _, n := range []int{4095, 4096, 4097} {
		e := grain.ErrorOf(&grain.Error{Code: grain.Internal, Message: strings.Repeat("x", n)})
		if len(e.Message) != min(n, 4096) {
			t.Errorf("a message of %d bytes became %d", n, len(e.Message))
		}
		e = grain.ErrorOf(&grain.Error{Code: grain.Internal, Message: strings.Repeat("x", n-2) + "€"})
		if !utf8.ValidString(e.Message) || len(e.Message) > 4096 || strings.HasSuffix(e.Message, "€") != (n == 4095) {
			t.Errorf("a message that ends in the middle of a rune at %d: %d bytes, %q", n, len(e.Message), e.Message[len(e.Message)-3:])
		}
	}
	if e := grain.ErrorOf(errors.New(strings.Repeat("\xff\xfea", 2000))); len(e.Message) > 4096 || !utf8.ValidString(e.Message) {
		t.Errorf("%d bytes", len(e.Message))
	}
	for _, n := range []int{60<<10 - 1, 60 << 10, 60<<10 + 1} {
		e := grain.ErrorOf(&grain.Error{Code: grain.Internal, Details: map[string]string{"a": strings.Repeat("x", n-1)}})
		if _, kept := e.Details["a"]; kept != (n <= 60<<10) || len(e.Details) != 1 {
			t.Errorf("details of %d bytes: kept %v", n, kept)
		}
	}
}

// The details of an error that the handler keeps are not touched on the way.
func TestWireLeavesDetailsAlone(t *testing.T) {
	e := &grain.Error{Code: grain.NotFound, Reason: "NO_CART", Details: map[string]string{"a": "b"}}
	w := e.Wire()
	if w.Reason != "NO_CART" || w.Metadata["a"] != "b" || len(w.Metadata) != 2 {
		t.Errorf("on the wire: %+v", w)
	}
	if len(e.Details) != 1 {
		t.Errorf("the details became %v", e.Details)
	}
	if back := grain.FromWire(w); back.Code != grain.NotFound || len(back.Details) != 1 {
		t.Errorf("back: %+v", back)
	}
}

// What another author's peer sends is taken as it is.
func TestFromWireOfStrangers(t *testing.T) {
	for reason, want := range map[string]grain.Error{
		"INVALID_ARGUMENT": {Code: grain.InvalidArgument},
		"CART_FULL":        {Code: grain.Unknown, Reason: "CART_FULL"},
		"":                 {Code: grain.Unknown},
		"OK":               {Code: grain.Unknown},
		"not_found":        {Code: grain.Unknown, Reason: "not_found"},
	} {
		e := grain.FromWire(grain.WireError{Reason: reason, Sentinel: "no such sentinel", Metadata: map[string]string{"granary.code": "bogus"}})
		if e.Code != want.Code || e.Reason != want.Reason || e.Unwrap() != nil || e.Details != nil {
			t.Errorf("%q became %+v", reason, e)
		}
		if !grain.IsRemote(e) {
			t.Errorf("%q is not remote", reason)
		}
	}
}

// A grain that passes on another grain's error answers for it itself.
func TestErrorPassedOn(t *testing.T) {
	inner := grain.FromWire(grain.WireError{Reason: "NOT_FOUND", Message: "m"})
	e := grain.ErrorOf(inner)
	if grain.IsRemote(e) || e.Code != grain.NotFound || e.Message != "m" {
		t.Errorf("passed on: %+v", e)
	}
	if !grain.IsRemote(inner) {
		t.Error("the error that came in was changed")
	}
}

func TestCycleInWords(t *testing.T) {
	a, b := core.Identity{Kind: "A", Key: "1"}, core.Identity{Kind: "B", Key: "2"}
	err := grain.CheckChain([]core.Identity{a, b}, a, false)
	want := "call cycle: the call would wait for itself: A/1 → B/2 → A/1; make the method reentrant, or use Tell"
	if err == nil || err.Error() != want || grain.ReasonOf(err) != grain.ReasonCycle {
		t.Errorf("%v (%s), want %s", err, grain.ReasonOf(err), want)
	}
}

func TestPanicIn(t *testing.T) {
	if got := grain.PanicIn("the hook Activate", io.EOF).Error(); got != "internal: the hook Activate panicked: EOF" {
		t.Error(got)
	}
	if got := grain.PanicIn("the factory", nil).Error(); got != "internal: the factory ended its goroutine (runtime.Goexit) instead of returning" {
		t.Error(got)
	}
}

func TestPanicError(t *testing.T) {
	e := grain.PanicError(strings.Repeat("x", 1000))
	if e.Code != grain.Internal || len(e.Message) > 300 {
		t.Errorf("%v, %d bytes", e.Code, len(e.Message))
	}
	if e := grain.PanicError(strings.Repeat("x", 255) + "€"); !utf8.ValidString(e.Message) {
		t.Errorf("%q", e.Message)
	}
	if got := grain.PanicError(io.EOF).Error(); got != "internal: the method panicked: EOF" {
		t.Errorf("%q", got)
	}
}

func TestNoError(t *testing.T) {
	if grain.ErrorOf(nil) != nil || grain.CodeOf(nil) != grain.OK || grain.ReasonOf(nil) != "" || grain.IsRemote(nil) || grain.SentinelName(nil) != "" {
		t.Error("nil is taken for an error")
	}
	var none *grain.Error
	if grain.CodeOf(none) != grain.Unknown || grain.ReasonOf(none) != "UNKNOWN" || grain.IsRemote(none) || none.Unwrap() != nil || !errors.Is(none, none) || errors.Is(none, io.EOF) {
		t.Error("a nil *Error is taken for one that says something")
	}
	for s := range sentinels {
		if back := grain.SentinelByName(grain.SentinelName(s)); back != s {
			t.Errorf("%v came back as %v", s, back)
		}
	}
}
