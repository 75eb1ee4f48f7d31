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

// sentinels lists what errors.Is can find after the wire. The wire holds their texts, so a text of
// this list never changes. Where an error is several of them, the first counts.
func sentinels() []error {
	return []error{
		core.ErrInvalid, core.ErrUnsupported, core.ErrNotFound, core.ErrConflict, core.ErrFenced,
		core.ErrEvicted, core.ErrNoMember, core.ErrNoKind, core.ErrNotOwner, core.ErrBusy,
		core.ErrOverloaded, core.ErrUnreachable, core.ErrStopped,
		context.DeadlineExceeded, context.Canceled,
	}
}

// SentinelToProto is the name by which the wire knows the sentinel in err's chain; empty if there
// is none.
func SentinelToProto(err error) string {
	for _, s := range sentinels() {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	return ""
}

// SentinelFromProto is the sentinel of that name; nil for an unknown one, such as of a later version.
func SentinelFromProto(name string) error {
	for _, s := range sentinels() {
		if s.Error() == name {
			return s
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
