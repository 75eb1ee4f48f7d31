package convert_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/granarypb"
)

var sentinels = []error{
	core.ErrInvalid, core.ErrUnsupported, core.ErrNotFound, core.ErrConflict, core.ErrFenced,
	core.ErrEvicted, core.ErrNoMember, core.ErrNoKind, core.ErrNotOwner, core.ErrBusy,
	core.ErrOverloaded, core.ErrUnreachable, core.ErrStopped,
	context.DeadlineExceeded, context.Canceled,
}

// An error reads the same before and after the wire: text, every sentinel, delivery, retry-after.
func TestErrorRoundTrip(t *testing.T) {
	for _, sentinel := range sentinels {
		for _, d := range []core.Delivery{core.DeliveryUnknown, core.Undelivered, core.Delivered} {
			err := fmt.Errorf("lookup: ask %q: %w", "m1", sentinel)
			back := overTheWire(t, core.WithDelivery(core.Retry(err, 3*time.Millisecond), d))
			if back.Error() != err.Error() {
				t.Errorf("text = %q, want %q", back, err)
			}
			for _, s := range sentinels {
				if got, want := errors.Is(back, s), s == sentinel; got != want {
					t.Errorf("%v after the wire is %v: %v, want %v", err, s, got, want)
				}
			}
			if got := core.DeliveryOf(back); got != d {
				t.Errorf("delivery of %v = %v, want %v", err, got, d)
			}
			if after, ok := core.RetryAfter(back); !ok || after != 3*time.Millisecond {
				t.Errorf("retry after = %v, %v, want 3ms", after, ok)
			}
		}
	}
}

func TestErrorWithoutASentinel(t *testing.T) {
	back := overTheWire(t, errors.New("disk full"))
	if back.Error() != "disk full" || core.DeliveryOf(back) != core.DeliveryUnknown {
		t.Errorf("error = %v (%v), want disk full of unknown delivery", back, core.DeliveryOf(back))
	}
	if after, ok := core.RetryAfter(back); ok {
		t.Errorf("retry after = %v, want none", after)
	}
	for _, s := range sentinels {
		if errors.Is(back, s) {
			t.Errorf("it is %v", s)
		}
	}
}

func TestErrorNil(t *testing.T) {
	if p := convert.ErrorToProto(nil); p != nil {
		t.Errorf("ErrorToProto(nil) = %v", p)
	}
	if err := convert.ErrorFromProto(nil); err != nil {
		t.Errorf("ErrorFromProto(nil) = %v", err)
	}
}

// A later version may know more than we do, and a hostile peer may say anything.
func TestErrorFromStrangers(t *testing.T) {
	for _, tc := range []struct {
		name     string
		wire     *granarypb.CallError
		text     string
		delivery core.Delivery
	}{
		{"empty", &granarypb.CallError{}, "an error of a peer without a text", core.DeliveryUnknown},
		{"sentinel alone", &granarypb.CallError{Sentinel: "busy"}, "busy", core.DeliveryUnknown},
		{"unknown sentinel", &granarypb.CallError{Sentinel: "tired", Text: "t"}, "t", core.DeliveryUnknown},
		{"unknown delivery", &granarypb.CallError{Text: "t", Delivery: 9}, "t", core.DeliveryUnknown},
		{"negative retry", &granarypb.CallError{Text: "t", RetryAfterMicros: -5, Delivery: 1}, "t", core.Undelivered},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := convert.ErrorFromProto(tc.wire)
			if err.Error() != tc.text || core.DeliveryOf(err) != tc.delivery {
				t.Errorf("error = %q, %v, want %q, %v", err, core.DeliveryOf(err), tc.text, tc.delivery)
			}
			if after, ok := core.RetryAfter(err); ok {
				t.Errorf("retry after = %v, want none", after)
			}
		})
	}
}

func TestErrorTextIsBounded(t *testing.T) {
	long := strings.Repeat("é", convert.MaxErrorText)
	wire := convert.ErrorToProto(errors.New(long + "\xff"))
	if n := len(wire.GetText()); n > convert.MaxErrorText || n < convert.MaxErrorText-4 || !utf8.ValidString(wire.GetText()) {
		t.Errorf("text has %d bytes, valid %v", n, utf8.ValidString(wire.GetText()))
	}
	wire = &granarypb.CallError{Text: strings.Repeat("x", 1<<20)}
	if n := len(convert.ErrorFromProto(wire).Error()); n != convert.MaxErrorText {
		t.Errorf("a peer's text has %d bytes, want %d", n, convert.MaxErrorText)
	}
}

// The numbers of both enums are the same, so that conversion is a cast.
func TestDeliveryNumbers(t *testing.T) {
	for _, d := range []core.Delivery{core.DeliveryUnknown, core.Undelivered, core.Delivered} {
		if got := convert.DeliveryFromProto(convert.DeliveryToProto(d)); got != d {
			t.Errorf("delivery %v comes back as %v", d, got)
		}
	}
	if got := convert.DeliveryToProto(core.Delivered); got != granarypb.Delivery_DELIVERY_DELIVERED {
		t.Errorf("Delivered = %v", got)
	}
}

func overTheWire(t *testing.T, err error) error {
	t.Helper()
	data, e := proto.Marshal(convert.ErrorToProto(err))
	if e != nil {
		t.Fatal(e)
	}
	p := new(granarypb.CallError)
	if e := proto.Unmarshal(data, p); e != nil {
		t.Fatal(e)
	}
	return convert.ErrorFromProto(p)
}
