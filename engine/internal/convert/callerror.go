package convert

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/granarypb"
)

// MaxErrorText is how much of an error's text crosses the wire, in bytes.
const MaxErrorText = 4_096

// sentinel is an error that errors.Is can find after the wire, and its name there.
type sentinel struct {
	err  error
	name string
}

// sentinels lists them. A name never changes, and is the same as in the answers of grains
// (grain.SentinelName). Where an error is several of them, the first counts.
func sentinels() []sentinel {
	return []sentinel{
		{core.ErrInvalid, "invalid"}, {core.ErrUnsupported, "unsupported"}, {core.ErrNotFound, "not found"},
		{core.ErrConflict, "conflict"}, {core.ErrFenced, "fenced"}, {core.ErrEvicted, "evicted"},
		{core.ErrNoMember, "no member"}, {core.ErrNoKind, "unknown kind"}, {core.ErrNotOwner, "not owner"},
		{core.ErrBusy, "busy"}, {core.ErrOverloaded, "overloaded"}, {core.ErrUnreachable, "unreachable"},
		{core.ErrStopped, "stopped"},
		{context.DeadlineExceeded, "deadline exceeded"}, {context.Canceled, "canceled"},
	}
}

// SentinelToProto is the name by which the wire knows the sentinel in err's chain; empty if there
// is none.
func SentinelToProto(err error) string {
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return ""
}

// SentinelFromProto is the sentinel of that name; nil for an unknown one, such as of a later version.
func SentinelFromProto(name string) error {
	for _, s := range sentinels() {
		if s.name == name {
			return s.err
		}
	}
	return nil
}

// DeliveryToProto is the wire form of d.
func DeliveryToProto(d core.Delivery) granarypb.Delivery { return granarypb.Delivery(d) }

// DeliveryFromProto is the delivery that p says; what is unknown here claims nothing.
func DeliveryFromProto(p granarypb.Delivery) core.Delivery {
	if p == granarypb.Delivery_DELIVERY_UNDELIVERED || p == granarypb.Delivery_DELIVERY_DELIVERED {
		return core.Delivery(p)
	}
	return core.DeliveryUnknown
}

// ErrorToProto is the wire form of err: its text, its sentinel, its delivery and its time to try
// again; nil for nil.
func ErrorToProto(err error) *granarypb.CallError {
	if err == nil {
		return nil
	}
	p := &granarypb.CallError{
		Sentinel: SentinelToProto(err),
		Text:     clip(err.Error()),
		Delivery: DeliveryToProto(core.DeliveryOf(err)),
	}
	if after, ok := core.RetryAfter(err); ok {
		p.RetryAfterMicros = Micros(after)
	}
	return p
}

// ErrorFromProto is the error that p describes: errors.Is finds its sentinel, core.DeliveryOf and
// core.RetryAfter what the sender knew. Nil for nil.
func ErrorFromProto(p *granarypb.CallError) error {
	if p == nil {
		return nil
	}
	var err error = &peerError{text: clip(p.GetText()), sentinel: SentinelFromProto(p.GetSentinel())}
	if after := Duration(p.GetRetryAfterMicros()); after > 0 {
		err = core.Retry(err, after)
	}
	return core.WithDelivery(err, DeliveryFromProto(p.GetDelivery()))
}

// peerError is an error that happened at a peer.
type peerError struct {
	text     string
	sentinel error // nil: none
}

// Error is the text of the whole error at the peer.
func (e *peerError) Error() string {
	if e.text == "" && e.sentinel != nil {
		return e.sentinel.Error()
	}
	return cmp.Or(e.text, "an error of a peer without a text")
}

// Unwrap is the sentinel.
func (e *peerError) Unwrap() error { return e.sentinel }

// clip bounds a text and makes it UTF-8, which the wire demands.
func clip(text string) string {
	if len(text) > MaxErrorText {
		text = text[:MaxErrorText]
	}
	return strings.ToValidUTF8(text, "")
}
