package wireform

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// Details of errors of the engine, which are no answers of a grain; the prefix is reserved.
const (
	detailEngine     = "granary.engine" // the error is the engine's own; its value says what it is
	engineError      = "error"
	engineDeadLetter = "dead letter"
	detailMember     = "granary.member" // of the dead letter's target
	detailAddress    = "granary.address"
	detailProcess    = "granary.process"
)

// maxDetails bounds the details of an error, in bytes; with more of them they are left out.
const maxDetails = 64 << 10

// ErrorCodec carries errors over the wire as cluster.GrainErrorResponse, so that errors.Is, As,
// core.DeliveryOf and core.RetryAfter answer the same on both sides.
type ErrorCodec struct{}

// Types are the messages that the engine's processes and grains take and give.
func Types() *remote.Types {
	return remote.NewTypes(
		&clusterpb.GrainRequest{}, &clusterpb.GrainResponse{}, &clusterpb.GrainErrorResponse{},
		&actorpb.DeadLetterResponse{}, &granarypb.CancelCall{}, &granarypb.ActivationsTerminated{},
		&granarypb.LookupRequest{}, &granarypb.LookupResponse{},
		&granarypb.ProcessRequest{}, &granarypb.ProcessResponse{},
	)
}

// EncodeError is the wire form of any error.
func (ErrorCodec) EncodeError(err error) proto.Message {
	p := &clusterpb.GrainErrorResponse{Delivery: convert.DeliveryToProto(core.DeliveryOf(err))}
	if place, ok := PlaceOf(err); ok {
		p.Placement = convert.PlacementToProto(place)
	}
	if after, ok := core.RetryAfter(err); ok {
		p.RetryAfterMicros = max(after, time.Microsecond).Microseconds()
	}
	if panicked, ok := errors.AsType[*actor.PanicError](err); ok {
		err = MethodPanic(panicked)
	}
	if e, ok := errors.AsType[*grain.Error](err); ok {
		w := e.Wire()
		p.Reason, p.Message, p.Sentinel, p.Metadata = plain(w.Reason), plain(w.Message), w.Sentinel, plainDetails(w.Metadata)
		return p
	}
	p.Reason, p.Message, p.Sentinel = grain.CodeOf(err).Reason(), plain(err.Error()), grain.SentinelName(err)
	p.Metadata = map[string]string{detailEngine: engineError}
	if errors.Is(err, actor.ErrDeadLetter) {
		p.Metadata[detailEngine] = engineDeadLetter
		if letter, ok := errors.AsType[*actor.DeadLetterError](err); ok {
			p.Metadata[detailMember] = plain(string(letter.Target.Member))
			p.Metadata[detailAddress] = plain(letter.Target.Address)
			p.Metadata[detailProcess] = plain(letter.Target.ID)
		}
	}
	return p
}

// DecodeError reads the wire form. False: the message is no error.
func (ErrorCodec) DecodeError(typ string, data []byte) (error, bool) {
	if typ != "cluster.GrainErrorResponse" {
		return nil, false
	}
	p := &clusterpb.GrainErrorResponse{}
	if err := (proto.UnmarshalOptions{RecursionLimit: 16}).Unmarshal(data, p); err != nil {
		return core.WithDelivery(grain.Errorf(grain.Internal, "an error that cannot be read: %w: %w", err, core.ErrInvalid), core.DeliveryUnknown), true
	}
	err := decodeError(p)
	if place, bad := convert.PlacementFromProto(p.GetPlacement()); bad == nil {
		err = &Placed{Err: err, Place: place}
	}
	return err, true
}

func decodeError(p *clusterpb.GrainErrorResponse) error {
	delivery := convert.DeliveryFromProto(p.GetDelivery())
	after := convert.Duration(p.GetRetryAfterMicros())
	what, engine := p.GetMetadata()[detailEngine]
	if !engine {
		return core.WithDelivery(grain.FromWire(grain.WireError{
			Reason: p.GetReason(), Message: p.GetMessage(), Metadata: p.GetMetadata(),
			Sentinel: p.GetSentinel(), RetryAfter: after,
		}), delivery)
	}
	if what == engineDeadLetter && delivery == core.Undelivered { // one passed on as an answer is none of this call
		m := p.GetMetadata()
		return &actor.DeadLetterError{Target: core.PID{Member: core.MemberID(m[detailMember]), Address: m[detailAddress], ID: m[detailProcess]}}
	}
	var err error = &peerError{p.GetMessage(), grain.SentinelByName(p.GetSentinel())}
	if after > 0 {
		err = core.Retry(err, after)
	}
	return core.WithDelivery(err, delivery)
}

// peerError is an error of the engine on another member.
type peerError struct {
	text     string
	sentinel error // nil: none
}

// Error is the text of the whole error there.
func (e *peerError) Error() string {
	if e.text == "" && e.sentinel != nil {
		return e.sentinel.Error()
	}
	return e.text
}

// Unwrap is the sentinel.
func (e *peerError) Unwrap() error { return e.sentinel }

// plain bounds a text and makes it UTF-8, which the wire demands.
func plain(text string) string {
	if len(text) > convert.MaxErrorText {
		text = text[:convert.MaxErrorText]
	}
	return strings.ToValidUTF8(text, "�")
}

func plainDetails(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	size := 0
	out := make(map[string]string, len(m))
	for k, v := range m {
		if size += len(k) + len(v); size > maxDetails {
			return map[string]string{"granary.details": "too large to cross the wire"}
		}
		out[strings.ToValidUTF8(k, "�")] = strings.ToValidUTF8(v, "�")
	}
	return out
}

// Placed is an error that reached its activation by a routed call.
type Placed struct {
	Err   error
	Place core.Placement
}

// Error is the text of the error.
func (e *Placed) Error() string { return e.Err.Error() }

// Unwrap is the error itself.
func (e *Placed) Unwrap() error { return e.Err }

// PlaceOf is the placement that an answer brought along.
func PlaceOf(err error) (core.Placement, bool) {
	if p, ok := errors.AsType[*Placed](err); ok {
		return p.Place, true
	}
	return core.Placement{}, false
}

// MethodPanic is what the caller sees of a method that did not return.
func MethodPanic(p *actor.PanicError) *grain.Error {
	if p.Value == actor.Goexit {
		return grain.PanicIn("the method", nil)
	}
	return grain.PanicError(p.Value)
}

var _ remote.ErrorCodec = ErrorCodec{}
